"""Training input of a task: clips with texts or classes, or sliding-window features with segments."""

from typing import Any, Protocol

from jax.sharding import Mesh

from svilm_jax.config import Config
from svilm_jax.input.features import FeatureInput
from svilm_jax.input.pipeline import TrainInput
from svilm_jax.parallel import data_shard
from svilm_jax.parallel.distributed import local_process_count
from svilm_jax.text.tokenizers import Tokenizer


class BatchSource(Protocol):
    """Interface of a training input; `TrainInput` documents it."""

    failures: dict[str, str]

    @property
    def steps_per_epoch(self) -> float:
        """Number of global batches per epoch."""

    def __next__(self) -> dict[str, Any]: ...

    def state(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""

    def check_state(self, saved: Any) -> None:
        """Raises InputError if a resumed run would not continue in the same order."""

    def close(self) -> None:
        """Stops reading."""


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
