"""Fingerprint of a model: parameters, model config and tokenizer, which define the trained model only together."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from svilm_jax.config import Config, ModelConfig
from svilm_jax.models.parameters import Params
from svilm_jax.models.parameters import fingerprint as parameters_fingerprint
from svilm_jax.text.tokenizers import Tokenizer

_EXECUTION = ("compute_dtype", "attention", "remat", "scan_unroll")  # affect how a model is computed, not its result


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """12 hex digits for each part of a model, and for all of it together (`str`).

    Attributes:
      parameters: of the arrays as they are used, float32; a bfloat16 export of a model has another fingerprint.
      config: of the task and `ModelConfig`, without fields that only affect how the model is computed.
      tokenizer: of its files and settings.
    """

    parameters: str
    config: str
    tokenizer: str

    def __str__(self) -> str:
        return _digest([self.parameters, self.config, self.tokenizer])

    def differing(self, other: "Fingerprint") -> tuple[str, ...]:
        """Returns the names of the parts that differ."""
        return tuple(
            field.name for field in dataclasses.fields(self) if getattr(self, field.name) != getattr(other, field.name)
        )


def model_fingerprint(params: Params, config: Config, tokenizer: Tokenizer) -> Fingerprint:
    """Returns the fingerprint of a model with float32 `params`."""
    chosen = _changed(dataclasses.asdict(config.model), dataclasses.asdict(ModelConfig()))
    for name in _EXECUTION:
        chosen.pop(name, None)
    return Fingerprint(parameters_fingerprint(params), _digest([config.task, chosen]), _digest([tokenizer.fingerprint]))


def _changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with non-default values: adding a field later changes no fingerprint."""
    found = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = _changed(value, defaults[name])
            if value:
                found[name] = value
        elif value != defaults[name]:
            found[name] = value
    return found


def _digest(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
