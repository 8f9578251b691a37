"""Evaluator registry: a table of kinds, and validation of their options."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from svilm_jax.config import Config, ConfigError, nearest, resolve_options, shown
from svilm_jax.evaluation.action_recognition import ActionOptions, ActionRecognition
from svilm_jax.evaluation.grounding import Grounding, GroundingOptions
from svilm_jax.evaluation.linear_probe import LinearProbe, ProbeOptions
from svilm_jax.evaluation.localization import Localization, LocalizationOptions
from svilm_jax.evaluation.question_answering import QuestionAnswering, QuestionOptions
from svilm_jax.evaluation.retrieval import HardRetrieval, HardRetrievalOptions, Retrieval, RetrievalOptions
from svilm_jax.evaluation.scene_cuts import SceneCutOptions, SceneCuts
from svilm_jax.evaluation.temporal_grouping import GroupingOptions, TemporalGrouping
from svilm_jax.inference.encoding import Encoder
from svilm_jax.output_paths import check_output_file


class Evaluator(Protocol):
    """Interface of an evaluator: queries an encoder and reports metrics."""

    def run(self, encoder: Encoder) -> Iterator[tuple[str, float]]:
        """Yields (name, value); fractions lie between 0 and 1; `table.is_share` tells which metrics are fractions."""
        ...


# kind: (its options, the evaluator made from options and config)
KINDS: Mapping[str, tuple[type, Any]] = {
    "retrieval": (RetrievalOptions, Retrieval),
    "retrieval_hard": (HardRetrievalOptions, HardRetrieval),
    "grounding": (GroundingOptions, Grounding),
    "grouping": (GroupingOptions, TemporalGrouping),
    "scene_cuts": (SceneCutOptions, SceneCuts),
    "question_answering": (QuestionOptions, QuestionAnswering),
    "action_recognition": (ActionOptions, ActionRecognition),
    "linear_probe": (ProbeOptions, LinearProbe),
    "localization": (LocalizationOptions, Localization),
}


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
        evaluators[name] = KINDS[kind][1](options, config)
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
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{path}.kind={kind!r}: expected one of {', '.join(sorted(KINDS))}{nearest(kind, KINDS)}")
    return kind


def resolve_evaluator(name: str, entry: object) -> tuple[str, Any]:
    """Returns kind and options of one entry of `config.evaluators`.

    Raises:
      ConfigError: an unknown kind or option, or an invalid value of an option.
    """
    kind = evaluator_kind(name, entry)
    assert isinstance(entry, Mapping)
    tree = {key: value for key, value in entry.items() if key != "kind"}
    return kind, resolve_options(KINDS[kind][0], tree, f"config.evaluators.{name}")
