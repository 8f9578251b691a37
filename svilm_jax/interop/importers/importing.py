"""Import of public weights into a config's model: fills its towers, initializes the rest, reports every parameter."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.config import Config, resolve_options
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.importers.source import TextSource, VideoSource
from svilm_jax.interop.importers.towers import FilledVideo, check_filled, fill_text, fill_video
from svilm_jax.models.parameters import abstract_model, bind, named, parameters, unnamed
from svilm_jax.models.svilm import build_model
from svilm_jax.text.tokenizers import load_tokenizer

_GROUPS = "video_tower.group_tokens"


@dataclasses.dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes:
      trained: the model, to be written by `model_directory.write_model_directory`.
      changed: "config.model.text.hidden_size: 0 -> 384" of the fields that the towers determine.
      filled: parameter -> the source arrays in it.
      fresh: names of randomly initialized parameters, including partially filled ones.
      dropped: source array -> why it is not used.
      invented: parameter -> why its values are not from the source.
      pixels: the source's pixel normalization, and where it is stated; its patches are converted to ours. "" without.
    """

    trained: TrainedModel
    changed: list[str]
    filled: list[str]
    fresh: list[str]
    dropped: dict[str, str]
    invented: dict[str, str]
    pixels: str = ""


def import_towers(
    config: Config,
    text: TextSource | None,
    video: VideoSource | None = None,
    inflate: str = "center",
    class_token: str = "drop",
) -> Imported:
    """Builds a model of a config with the towers of the sources.

    The towers' architecture replaces that of the config, and the text tower brings its tokenizer. Frames, size and
    tubelet of clips remain the config's; a tower over videos brings one position per token, which a sum of two tables
    could not represent.

    Args:
      config: config of the model.
      text: source of the text tower; None: initialized randomly.
      video: source of the video tower; None: initialized randomly.
      inflate: see `fill_video`.
      class_token: see `fill_video`.

    Raises:
      ModelDirectoryError: arrays that do not match; both sides are listed.
      ConfigError, TokenizerError: the rest of the config is incompatible with such towers.
    """
    before = config
    dropped: dict[str, str] = {}
    invented: dict[str, str] = {}
    if text is not None:
        fields = {**text.architecture.fields(), "max_positions": text.positions, "pool": text.pool}
        config = _with(config, "text", fields)
        _check_length(config, text)
        tokenizer = text.tokenizer
        lowercase = dataclasses.replace(config.tokenizer, path="", lowercase=tokenizer.lowercase)
        config = dataclasses.replace(config, tokenizer=lowercase)
    else:
        tokenizer = load_tokenizer(config.tokenizer.path, config.tokenizer.lowercase, config.input.dataset)
    if video is not None:
        table = {} if video.of_images else {"position_table": "joint"}
        config = _with(config, "video", {**video.architecture.fields(), **table})
    graphdef, abstract = abstract_model(config, tokenizer.vocab_size)  # raises for impossible configs
    filled: dict[str, np.ndarray] = {}
    seen: FilledVideo | None = None
    if text is not None:
        filled |= fill_text(text)
        dropped |= text.converted.dropped
        invented |= {f"text_tower.{name}": why for name, why in text.converted.invented.items()}
    if video is not None:
        seen = fill_video(video, config.model, inflate, class_token)
        filled |= seen.arrays
        # Both towers may have had a pooler.
        dropped |= {f"{name} (video)" if name in dropped else name: why for name, why in seen.dropped.items()}
        invented |= seen.invented
    start = named(parameters(build_model(config, tokenizer.vocab_size, config.train.seed)))
    if seen is not None and seen.class_token is not None:
        filled[_GROUPS] = _with_first_row(start[_GROUPS], seen.class_token)
    towers = [f"{name}_tower." for name, source in (("text", text), ("video", video)) if source is not None]
    shapes = {name: tuple(array.shape) for name, array in start.items()}
    check_filled(filled, shapes, towers, seen.lacking if seen is not None else ())
    fresh = [name for name in start if name not in filled]
    if _GROUPS in filled and len(filled[_GROUPS]) > 1:
        fresh.append(_GROUPS)
        invented[_GROUPS] = f"the class token, and {len(filled[_GROUPS]) - 1} randomly initialized rows"
    params = unnamed({name: jax.numpy.asarray(filled.get(name, array)) for name, array in start.items()})
    trained = TrainedModel(bind(graphdef, abstract, params), config, tokenizer, 0, fresh=tuple(fresh))
    pixels = str(video.pixels) if video is not None else ""
    return Imported(trained, _changes(before, config), sorted(filled), fresh, dropped, invented, pixels)


def _check_length(config: Config, text: TextSource) -> None:
    """Rejects sentences that are longer than the source's position table."""
    for key in ("max_length", "phrase_length"):
        if (length := getattr(config.model.text, key)) > text.positions:
            raise ModelDirectoryError(
                f"config.model.text.{key}={length}: {text.origin} has {text.positions} positions; set "
                f"config.model.text.{key} to no more"
            )


def _with_first_row(table: Any, row: np.ndarray) -> np.ndarray:
    """Replaces the first row of a table; if the widths differ, returns the row alone, which `check_filled` rejects."""
    return np.concatenate([row[None], table[1:]]) if row.shape == table.shape[1:] else row[None]


def _with(config: Config, tower: str, fields: Mapping[str, Any]) -> Config:
    """Returns a config with other fields of one tower."""
    tree = dataclasses.asdict(config.model)
    tree[tower] |= fields
    return dataclasses.replace(config, model=resolve_options(type(config.model), tree, "config.model"))


def _changes(before: Config, after: Config) -> list[str]:
    lines = []
    for tower in ("video", "text"):
        old, new = (dataclasses.asdict(getattr(c.model, tower)) for c in (before, after))
        lines += [f"config.model.{tower}.{key}: {old[key]!r} -> {new[key]!r}" for key in new if old[key] != new[key]]
    return lines
