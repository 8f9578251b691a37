"""How does a model start from public weights? A config's model, its towers filled, the rest fresh; nothing unnamed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from svilm_jax.config import Config, resolve_options
from svilm_jax.inference import TrainedModel
from svilm_jax.input.tokenization import load_tokenizer
from svilm_jax.interop.source import TextSource
from svilm_jax.interop.towers import check_filled, fill_text
from svilm_jax.models.parameters import abstract_model, bind, named, parameters, unnamed
from svilm_jax.models.svilm import build_model


@dataclasses.dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
      trained: the model, to be written by `folder.write_folder`.
      changed: "config.model.text.width: 0 -> 384" of the fields that the towers decide.
      filled: parameter -> the arrays of the source in it.
      fresh: names of parameters that keep their random start.
      dropped: array of a source -> why it is not used.
      invented: parameter -> why it holds what the source does not have.
    """

    trained: TrainedModel
    changed: list[str]
    filled: list[str]
    fresh: list[str]
    dropped: dict[str, str]
    invented: dict[str, str]


def import_towers(config: Config, text: TextSource | None) -> Imported:
    """A model of a config whose towers are those of the sources.

    The towers' own architecture replaces that of the config, and the text tower brings its tokenizer.

    Raises:
      FolderError: arrays that do not fit; both sides are listed.
      ConfigError, TokenizerError: the rest of the config does not go with such towers.
    """
    before = config
    filled: dict[str, np.ndarray] = {}
    dropped: dict[str, str] = {}
    invented: dict[str, str] = {}
    if text is not None:
        fields = {**text.architecture.fields(), "positions": text.positions, "pool": text.pool}
        config = _with(config, "text", fields)
        filled |= fill_text(text)
        tokenizer = text.tokenizer
        lowercase = dataclasses.replace(config.tokenizer, path="", lowercase=tokenizer.lowercase)
        config = dataclasses.replace(config, tokenizer=lowercase)
        dropped |= text.converted.dropped
        invented |= {f"text_tower.{name}": why for name, why in text.converted.invented.items()}
    else:
        tokenizer = load_tokenizer(config.tokenizer.path, config.tokenizer.lowercase, config.input.dataset)
    graphdef, abstract = abstract_model(config, tokenizer.vocab_size)
    start = named(parameters(build_model(config, tokenizer.vocab_size, config.train.seed)))
    towers = ["text_tower."] if text is not None else []
    check_filled(filled, {name: tuple(array.shape) for name, array in start.items()}, towers)
    params = unnamed({name: jax.numpy.asarray(filled.get(name, array)) for name, array in start.items()})
    fresh = [name for name in start if name not in filled]
    trained = TrainedModel(bind(graphdef, abstract, params), config, tokenizer, 0, fresh=tuple(fresh))
    return Imported(trained, _changes(before, config), sorted(filled), fresh, dropped, invented)


def _with(config: Config, tower: str, fields: Mapping[str, Any]) -> Config:
    """A config with other fields of one tower."""
    tree = dataclasses.asdict(config.model)
    tree[tower] |= fields
    return dataclasses.replace(config, model=resolve_options(type(config.model), tree, "config.model"))


def _changes(before: Config, after: Config) -> list[str]:
    lines = []
    for tower in ("video", "text"):
        old, new = (dataclasses.asdict(getattr(c.model, tower)) for c in (before, after))
        lines += [f"config.model.{tower}.{key}: {old[key]!r} -> {new[key]!r}" for key in new if old[key] != new[key]]
    return lines
