"""Evaluator registry: a table of kinds, validation of their options, and registration from outside the package."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from svilm_jax.config import Config, ConfigError, nearest, quoted, resolve_options
from svilm_jax.config.registration import check_free, load_plugins
from svilm_jax.evaluation.action_recognition.evaluator import ActionOptions, ActionRecognitionEvaluator
from svilm_jax.evaluation.action_recognition.linear_probe import LinearProbeEvaluator, ProbeOptions
from svilm_jax.evaluation.grounding.evaluator import GroundingEvaluator, GroundingOptions
from svilm_jax.evaluation.localization.evaluator import LocalizationEvaluator, LocalizationOptions
from svilm_jax.evaluation.localization.loss_evaluator import LocalizationLossEvaluator, LocalizationLossOptions
from svilm_jax.evaluation.metric import Reported
from svilm_jax.evaluation.question_answering.evaluator import QuestionAnsweringEvaluator, QuestionOptions
from svilm_jax.evaluation.retrieval.evaluator import (
    HardRetrievalEvaluator,
    HardRetrievalOptions,
    RetrievalEvaluator,
    RetrievalOptions,
)
from svilm_jax.evaluation.section import Section
from svilm_jax.evaluation.temporal_grouping.evaluator import GroupingOptions, TemporalGroupingEvaluator
from svilm_jax.evaluation.temporal_grouping.scene_cuts import SceneCutEvaluator, SceneCutOptions
from svilm_jax.filesystem.output_paths import check_output_file
from svilm_jax.inference.encoder import Encoder


class Evaluator(Protocol):
    """Interface of an evaluator: queries an encoder and reports metrics.

    A class attribute `SECTION` (`section.Section`) is optional: the report then has a section for metrics of this
    evaluator's `prefix`.
    """

    def run(self, encoder: Encoder) -> Iterator[Reported]:
        """Yields metrics; a tuple (name, value) is a metric without unit and baselines."""
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
    "localization_loss": (LocalizationLossOptions, LocalizationLossEvaluator),
}


def register_evaluator(kind: str, options: type, evaluator: Callable[[Any, Config], Evaluator]) -> None:
    """Adds a kind of evaluator from outside this package, which configs then name in `config.evaluators`.

    Call it in a config file, or in a module that an entry point of the group `svilm_jax.plugins` names.

    Args:
      kind: value of `config.evaluators.NAME.kind`, and the default of it for an entry of that name.
      options: frozen dataclass of its options, with defaults.
      evaluator: class or function that makes an `Evaluator` from (options, config).

    Raises:
      ValueError: the kind is taken by another evaluator.
      TypeError: `options` is not a dataclass.
    """
    check_free("evaluator", kind, EVALUATORS[kind][1] if kind in EVALUATORS else None, evaluator)
    if not dataclasses.is_dataclass(options):
        raise TypeError(f"evaluator {kind!r}: expected a dataclass of options, got {options!r}")
    EVALUATORS[kind] = (options, evaluator)


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


def report_sections(config: Config) -> dict[str, Section]:
    """Returns prefix of the metrics -> section, of the config's evaluators that have both; in the order of the kinds.

    Raises:
      ConfigError: see `resolve_evaluator`.
    """
    resolved = [resolve_evaluator(name, entry) for name, entry in config.evaluators.items()]
    sections: dict[str, Section] = {}
    for kind, options in sorted(resolved, key=lambda item: list(EVALUATORS).index(item[0])):
        section, prefix = getattr(EVALUATORS[kind][1], "SECTION", None), getattr(options, "prefix", "")
        if section and prefix:
            sections.setdefault(prefix, section)
    return sections


def evaluator_kind(name: str, entry: object) -> str:
    """Returns the kind of one entry of `config.evaluators`, by default its name.

    Raises:
      ConfigError: the entry is not a table, or there is no such kind; the message suggests the nearest name.
    """
    load_plugins()
    path = f"config.evaluators.{name}"
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{path}={quoted(entry)}: expected a table with kind and options")
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
