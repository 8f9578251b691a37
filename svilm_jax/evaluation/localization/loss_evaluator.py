"""Evaluator of the training loss on another split of features, by which the authors of G-TAD choose a checkpoint.

docs/method.md, 1.7: the loss of each batch of 16 videos, averaged over the batches, as in their code.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import LocalPath, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.features import FeatureLoader
from svilm_jax.objectives import Objective, build_objectives, total_loss

BATCH = 16


@dataclasses.dataclass(frozen=True)
class LocalizationLossOptions:
    """Options of the loss of temporal localization.

    Attributes:
      features: folder that `svilm extract-features` wrote for the split to evaluate.
      prefix: prefix of the metric name.
    """

    features: Chosen[LocalPath] = ""
    prefix: Chosen[Text] = "localization"


class LocalizationLossEvaluator:
    """Loss of `config.objectives` over the labeled videos of a split."""

    def __init__(self, options: LocalizationLossOptions, config: Config):
        if config.task != "localization":
            raise ConfigError(f"evaluator localization_loss needs config.task='localization', not {config.task!r}")
        self._prefix = options.prefix
        self._load = FeatureLoader(
            Path(options.features), config.model.localization.num_steps, config.model.head.classes
        )
        self._loss = functools.partial(_loss, build_objectives(config.objectives, config))

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields `loss`."""
        losses = []
        count = len(self._load.videos)
        for start in range(0, count, BATCH):
            rows = [self._load(0, number) for number in range(start, min(start + BATCH, count))]
            missing = BATCH - len(rows)
            rows += [{name: np.zeros_like(array) for name, array in rows[0].items()}] * missing  # `valid` is False
            batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            losses.append(float(encoder.call(self._loss, batch)))
        yield Metric(f"{self._prefix}/loss", float(np.mean(losses)), Unit.NUMBER, "loss", False)


def _loss(objectives: Mapping[str, Objective], model: Any, batch: dict[str, jax.Array]) -> jax.Array:
    loss, _ = total_loss(objectives, model(batch["features"]), batch, jax.random.key(0))
    return loss
