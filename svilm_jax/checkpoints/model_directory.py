"""Portable model directory, readable with plain NumPy.

    config.json          the config, the tokenizer's file name, the origin, the metrics reached, and the fingerprint of
                         parameters, model config and tokenizer, which is verified when the folder is read
    model.safetensors    every parameter under its name, float32 or bfloat16
    vocab.txt, tokenizer.json or tokenizer.model
    README.md            the model card

`svilm export` writes it from a checkpoint, `svilm import` from external weights; `svilm_jax.load` reads it.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx

from svilm_jax.config import ConfigError, resolve
from svilm_jax.errors import UserError
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.json_reader import JsonError
from svilm_jax.filesystem.json_reader import read_document as read_json_document
from svilm_jax.filesystem.placeholders import unreadable
from svilm_jax.inference import TrainedModel
from svilm_jax.inference.fingerprint import Fingerprint, model_fingerprint
from svilm_jax.models.parameters import abstract_model, bind, named, parameters, unnamed
from svilm_jax.text.tokenizers import TokenizerError, tokenizer_from_files

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
DTYPES = ("float32", "bfloat16")
_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "config.json", "README.md"


class ModelDirectoryError(UserError, ValueError):
    """A model folder that cannot be read or written; the message names it, and says what to do."""


@dataclasses.dataclass(frozen=True)
class ModelOrigin:
    """Origin and metrics of a model; for config.json and the model card.

    Attributes:
      source: such as "checkpoint at step 560 of demo".
      license: of the parameters, an SPDX identifier or a name; "" if not stated.
      data: description of the training data.
      metrics: content of `metrics.json` of the run (`svilm_jax.evaluation.metrics_file`); empty if there is none.
    """

    source: str
    license: str = ""
    data: str = ""
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def is_model_directory(path: str | Path) -> bool:
    """Returns whether `read_model_directory` applies to a path."""
    return (Path(path) / _WEIGHTS).is_file()


def write_model_directory(
    out: str | Path, trained: TrainedModel, origin: ModelOrigin, card: str, dtype: str = "float32"
) -> None:
    """Writes a model as a folder, atomically.

    Args:
      out: the folder; must not exist, or be empty.
      trained: the model.
      origin: where its parameters come from.
      card: text of README.md.
      dtype: of `DTYPES`.

    Raises:
      ModelDirectoryError: `out` is not empty, or cannot be written.
    """
    if dtype not in DTYPES:
        raise ModelDirectoryError(f"dtype {dtype!r}: expected one of {DTYPES}")
    out = Path(out)
    check_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out) as folder:
            folder.mkdir()
            _write_files(folder, trained, origin, card, dtype)
    except (OSError, safetensors.SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ModelDirectoryError(f"{out}: cannot be written ({reason}); make room or give another --out") from error


def _write_files(folder: Path, trained: TrainedModel, origin: ModelOrigin, card: str, dtype: str) -> None:
    arrays = {name: np.asarray(array, jnp.dtype(dtype)) for name, array in named(parameters(trained.model)).items()}
    safetensors.numpy.save_file(arrays, folder / _WEIGHTS, metadata={"format": "svilm_jax"})
    for name, content in trained.tokenizer.files().items():
        (folder / name).write_bytes(content)
    document = {
        "model_type": "svilm",
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(trained.config),
        "tokenizer": {"files": sorted(trained.tokenizer.files()), "lowercase": trained.tokenizer.lowercase},
        "vocab_size": trained.tokenizer.vocab_size,
        "step": trained.step,
        "grounding_block": trained.grounding_block,
        "fresh": list(trained.fresh),
        "dtype": dtype,
        "fingerprint": dataclasses.asdict(_fingerprint(arrays, trained)),
        "origin": dataclasses.asdict(origin),
    }
    (folder / _CONFIG).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (folder / _CARD).write_text(card, encoding="utf-8")
    (folder / _WEIGHTS).chmod((folder / _CONFIG).stat().st_mode)  # safetensors lets the owner alone read it


def check_free(out: Path) -> None:
    """Raises ModelDirectoryError if the path exists and is not an empty folder, or is the current folder."""
    if not out.name:
        raise ModelDirectoryError(f"{out}: expected the name of a new folder; give another --out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelDirectoryError(f"{out}: exists and is not an empty folder; give another --out")


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      ModelDirectoryError: another content.
    """
    try:
        document = read_json_document(file)
    except JsonError as error:
        raise ModelDirectoryError(f"{file}: cannot be read as JSON ({error.reason})") from error
    except OSError as error:
        raise ModelDirectoryError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(document, dict):
        raise ModelDirectoryError(f"{file}: expected an object of JSON, found a {type(document).__name__}")
    return document


def read_origin(folder: str | Path) -> ModelOrigin:
    """Reads the origin of a folder's model.

    Raises:
      ModelDirectoryError: config.json has none.
    """
    document = read_document(folder)
    try:
        return ModelOrigin(**document["origin"])
    except (KeyError, TypeError) as error:
        raise ModelDirectoryError(
            f"{Path(folder) / _CONFIG}: says no origin ({error}); export the model again"
        ) from error


def read_document(folder: str | Path) -> dict[str, Any]:
    """Reads config.json of a model folder.

    Raises:
      ModelDirectoryError: missing, not JSON, or of another format.
    """
    file = Path(folder) / _CONFIG
    try:
        document = read_json_document(file)
    except JsonError as error:
        raise ModelDirectoryError(f"{file}: cannot be read ({error.reason}); export the model again") from error
    except FileNotFoundError as error:
        raise ModelDirectoryError(f"{folder}: holds {_WEIGHTS} but no {_CONFIG}; export the model again") from error
    except OSError as error:
        raise ModelDirectoryError(f"{file}: cannot be read ({error}); export the model again") from error
    if not isinstance(document, dict) or document.get("model_type") != "svilm":
        raise ModelDirectoryError(f"{folder}: no model of svilm_jax; `svilm import` makes one from public weights")
    if document.get("format_version") != FORMAT_VERSION:
        raise ModelDirectoryError(
            f"{folder}: format {document.get('format_version')!r}, this version reads {FORMAT_VERSION}: use the "
            "version of svilm_jax that wrote it"
        )
    return document


def read_model_directory(path: str | Path) -> TrainedModel:
    """Reads the model of a folder that `write_model_directory` wrote, with float32 parameters.

    Raises:
      ModelDirectoryError: not such a folder, or its parts do not match; the message lists both sides.
    """
    folder = Path(path)
    document = read_document(folder)
    try:
        config = resolve(document["config"])
        files = {name: (folder / Path(name).name).read_bytes() for name in document["tokenizer"]["files"]}
        tokenizer = tokenizer_from_files(files, document["tokenizer"]["lowercase"])
        graphdef, abstract = abstract_model(config, document["vocab_size"])
        step, block, fresh = document["step"], document["grounding_block"], tuple(document["fresh"])
    except (ConfigError, TokenizerError, KeyError, TypeError, OSError) as error:
        raise ModelDirectoryError(
            f"{folder / _CONFIG}: {type(error).__name__}: {error}; export the model again"
        ) from error
    try:
        arrays = safetensors.numpy.load_file(folder / _WEIGHTS)
    except (safetensors.SafetensorError, OSError) as error:
        reason = unreadable(folder / _WEIGHTS, error)
        raise ModelDirectoryError(
            f"{folder / _WEIGHTS}: cannot be read ({reason}); copy or export the model again"
        ) from error
    _check(folder, named(nnx.to_pure_dict(abstract)), arrays)
    params = unnamed({name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()})
    trained = TrainedModel(bind(graphdef, abstract, params), config, tokenizer, step, block, fresh)
    _check_fingerprint(folder, document, trained)
    return trained


def _fingerprint(arrays: Mapping[str, np.ndarray], trained: TrainedModel) -> Fingerprint:
    """Returns the fingerprint of the model as it will be read, with rounded arrays."""
    read = unnamed({name: array.astype(np.float32) for name, array in arrays.items()})
    return model_fingerprint(read, trained.config, trained.tokenizer)


def _check_fingerprint(folder: Path, document: Mapping[str, Any], trained: TrainedModel) -> None:
    """Raises ModelDirectoryError if parameters, model config and tokenizer are not those that were written together."""
    if "fingerprint" not in document:
        log.warning(
            "%s: written by an earlier version, without a fingerprint: whether its %s, %s and tokenizer belong "
            "together is not checked; export the model again",
            *(folder, _WEIGHTS, _CONFIG),
        )
        return
    try:
        stored = Fingerprint(**document["fingerprint"])
    except TypeError as error:
        raise ModelDirectoryError(
            f"{folder / _CONFIG}: no fingerprint of this version ({error}); export again"
        ) from error
    if wrong := stored.differing(trained.fingerprint):
        tokenizer = ", ".join(sorted(trained.tokenizer.files()))
        files = {
            "parameters": _WEIGHTS,
            "config": f"config.model in {_CONFIG}",
            "tokenizer": f"the tokenizer ({tokenizer} and its entry in {_CONFIG})",
        }
        raise ModelDirectoryError(
            f"{folder}: {' and '.join(files[part] for part in wrong)} changed after the model was written (fingerprint "
            f"{stored} stored, {trained.fingerprint} computed): restore the file, or export the model again"
        )


def _check(folder: Path, wanted: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> None:
    wrong = [f"{name} {found[name].shape}: not in the model" for name in sorted(found.keys() - wanted.keys())]
    wrong += [f"{name} {tuple(wanted[name].shape)}: not in the file" for name in sorted(wanted.keys() - found.keys())]
    wrong += [
        f"{name}: {found[name].shape} in the file, {tuple(array.shape)} in the model"
        for name, array in wanted.items()
        if name in found and found[name].shape != tuple(array.shape)
    ]
    if wrong:
        examples = "; ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise ModelDirectoryError(f"{folder}: {_WEIGHTS} does not fit {_CONFIG}: {examples}")
