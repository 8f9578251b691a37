"""Training input of a task: clips with texts or classes, or sliding-window features with segments."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from jax.sharding import Mesh

from svilm_jax.config import Config, ConfigError, TrainConfig
from svilm_jax.input.features import FeatureInput
from svilm_jax.input.pipeline import TrainInput
from svilm_jax.objectives import Objective
from svilm_jax.objectives.multilevel_alignment import MultilevelAlignment
from svilm_jax.parallel import data_shard
from svilm_jax.parallel.distributed import local_process_count
from svilm_jax.text.tokenizers import Tokenizer


class BatchSource(Protocol):
    """Interface of a training input; `TrainInput` documents it."""

    failures: dict[str, str]

    @property
    def steps_per_epoch(self) -> float:
        """Number of global batches per pass over the clips."""

    @property
    def texts_per_clip(self) -> float:
        """Number of passes in which as many captions (or questions) are shown as the split has."""

    def scalars(self, step: int) -> dict[str, float]:
        """Returns what the log shows of the input after `step` batches."""

    def __next__(self) -> dict[str, Any]: ...

    def state(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""

    def check_state(self, saved: Any) -> None:
        """Raises InputError if a resumed run would not continue in the same order."""

    def close(self) -> None:
        """Stops reading."""


def check_sentences(data: BatchSource, objectives: Mapping[str, Objective]) -> None:
    """Rejects objectives that align sentences if the dataset has none of the kind that they need.

    Raises:
      ConfigError: what the dataset lacks, and what to change.
    """
    aligned = {name: o for name, o in objectives.items() if isinstance(o, MultilevelAlignment)}
    if not aligned or not isinstance(data, TrainInput):
        return
    facts = data.sentence_facts()
    for name, objective in aligned.items():
        if problem := objective.problem_with(facts):
            raise ConfigError(f"config.objectives.{name}: {problem}")


def total_steps(config: TrainConfig, data: BatchSource) -> int:
    """Returns the steps of a training: `steps`, or those of `epochs`, which count texts where a clip has several."""
    return config.steps or math.ceil(config.epochs * data.steps_per_epoch * data.texts_per_clip)


def open_input(config: Config, tokenizer: Tokenizer, start_step: int, mesh: Mesh) -> BatchSource:
    """Opens this process's part of the batches of a config, from a step on.

    Raises:
      ConfigError, DatasetError, FeatureError, InputError: see there.
    """
    place, count = data_shard(mesh)
    shared: dict[str, Any] = {
        "batch_size": config.train.batch_size,
        "seed": config.train.seed,
        "start_step": start_step,
        "process_index": place,
        "process_count": count,
    }
    if config.task == "localization":
        return FeatureInput(config.model.localization, config.model.head.classes, **shared)
    model = config.model
    shared |= {"task": config.task, "classes": model.head.classes, "local_processes": local_process_count()}
    return TrainInput(config.input, model.video, model.text, tokenizer, **shared)
