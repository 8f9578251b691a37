"""Evaluator registry: a table of kinds, validation of their options, and registration from outside the package."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from svilm_jax.config import Config, ConfigError, nearest, resolve_options, shown
from svilm_jax.evaluation.action_recognition.evaluator import ActionOptions, ActionRecognitionEvaluator
from svilm_jax.evaluation.action_recognition.linear_probe import LinearProbeEvaluator, ProbeOptions
from svilm_jax.evaluation.grounding.evaluator import GroundingEvaluator, GroundingOptions
from svilm_jax.evaluation.localization.evaluator import LocalizationEvaluator, LocalizationOptions
from svilm_jax.evaluation.question_answering.evaluator import QuestionAnsweringEvaluator, QuestionOptions
from svilm_jax.evaluation.retrieval.evaluator import (
    HardRetrievalEvaluator,
    HardRetrievalOptions,
    RetrievalEvaluator,
    RetrievalOptions,
)
from svilm_jax.evaluation.temporal_grouping.evaluator import GroupingOptions, TemporalGroupingEvaluator
from svilm_jax.evaluation.temporal_grouping.scene_cuts import SceneCutEvaluator, SceneCutOptions
from svilm_jax.filesystem.output_paths import check_output_file
from svilm_jax.inference.encoder import Encoder


class Evaluator(Protocol):
    """Interface of an evaluator: queries an encoder and reports metrics."""

    def run(self, encoder: Encoder) -> Iterator[tuple[str, float]]:
        """Yields (name, value); fractions lie between 0 and 1; `table.is_share` tells which metrics are fractions."""
        ...


# kind: (its options, the evaluator made from options and config)
EVALUATORS: dict[str, tuple[type, Callable[[Any, Config], Evaluator]]] = {
    "retrieval": (RetrievalOptions, RetrievalEvaluator),
    "retrieval_hard": (HardRetrievalOptions, HardRetrievalEvaluator),
    "grounding": (GroundingOptions, GroundingEvaluator),
    "grouping": (GroupingOptions, TemporalGroupingEvaluator),
    "scene_cuts": (SceneCutOptions, SceneCutEvaluator),
    "question_answering": (QuestionOptions, QuestionAnsweringEvaluator),
    "action_recognition": (ActionOptions, ActionRecognitionEvaluator),
    "linear_probe": (ProbeOptions, LinearProbeEvaluator),
    "localization": (LocalizationOptions, LocalizationEvaluator),
}


Registered = TypeVar("Registered", bound=Callable[[Any, Config], Evaluator])


def register_evaluator(kind: str, options: type) -> Callable[[Registered], Registered]:
    """Returns a class decorator that makes an evaluator available as `config.evaluators.NAME.kind`.

    For evaluators outside this package: import their module where the config file is defined, before the config is
    resolved.

        @register_evaluator("word_counts", WordCountOptions)
        class WordCountEvaluator:
            def __init__(self, options: WordCountOptions, config: Config): ...

            def run(self, encoder: Encoder) -> Iterator[tuple[str, float]]:
                yield f"{self.options.prefix}/words", 3.0

    Args:
      kind: the name, also the default key below `config.evaluators`.
      options: frozen dataclass whose fields are the options in the config.

    Raises:
      ValueError: the kind is taken by another class.
      TypeError: `options` is not a dataclass, or the class has no method `run`.
    """

    def register(evaluator: Registered) -> Registered:
        known = EVALUATORS.get(kind)
        if known is not None and _place(known[1]) != _place(evaluator):
            raise ValueError(f"evaluator {kind!r} is registered already, by {_place(known[1])}")
        if not dataclasses.is_dataclass(options):
            raise TypeError(f"evaluator {kind!r}: its options, {options!r}, are not a dataclass")
        if not hasattr(evaluator, "run"):
            raise TypeError(f"evaluator {kind!r}: {_place(evaluator)} has no method `run`")
        EVALUATORS[kind] = (options, evaluator)
        return evaluator

    return register


def _place(evaluator: Callable[..., Evaluator]) -> str:
    return f"{evaluator.__module__}.{evaluator.__qualname__}"


def build_evaluators(config: Config) -> dict[str, Evaluator]:
    """Builds the evaluators of `config.evaluators`, by name; every split they read is opened, and must exist.

    An entry is a table with `kind` (default: its name) and the options of that kind.

    Raises:
      ConfigError: an unknown kind or option, or an option of the wrong type; the message suggests the nearest name.
      DatasetError: a dataset or split that does not exist.
      OutputError: a file of predictions that cannot be written.
    """
    evaluators = {}
    for name, entry in config.evaluators.items():
        kind, options = resolve_evaluator(name, entry)
        if file := getattr(options, "predictions", ""):
            check_output_file(Path(file), f"--config.evaluators.{name}.predictions")
        evaluators[name] = EVALUATORS[kind][1](options, config)
    return evaluators


def evaluator_kind(name: str, entry: object) -> str:
    """Returns the kind of one entry of `config.evaluators`, by default its name.

    Raises:
      ConfigError: the entry is not a table, or there is no such kind; the message suggests the nearest name.
    """
    path = f"config.evaluators.{name}"
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{path}={shown(entry)}: expected a table with kind and options")
    kind = entry.get("kind", name)
    if not isinstance(kind, str) or kind not in EVALUATORS:
        raise ConfigError(
            f"{path}.kind={kind!r}: expected one of {', '.join(sorted(EVALUATORS))}{nearest(kind, EVALUATORS)}"
        )
    return kind


def resolve_evaluator(name: str, entry: object) -> tuple[str, Any]:
    """Returns kind and options of one entry of `config.evaluators`.

    Raises:
      ConfigError: an unknown kind or option, or an invalid value of an option.
    """
    kind = evaluator_kind(name, entry)
    assert isinstance(entry, Mapping)
    tree = {key: value for key, value in entry.items() if key != "kind"}
    return kind, resolve_options(EVALUATORS[kind][0], tree, f"config.evaluators.{name}")
