"""Evaluation of a model by all evaluators of a config; the failure of one does not stop the others."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from svilm_jax.evaluation.metric import Metric, as_metric, scalars

if TYPE_CHECKING:  # not at run time: both import JAX, and this function's package is imported without it
    from svilm_jax.evaluation.registry import Evaluator
    from svilm_jax.inference.encoder import Encoder

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
      metrics: of the evaluators that finished.
      failed: evaluator -> reason, of those that did not; none of their metrics are kept.
    """

    metrics: tuple[Metric, ...]
    failed: Mapping[str, str]

    @property
    def scalars(self) -> dict[str, float]:
        """Name -> value of all metrics and baselines."""
        return scalars(self.metrics)


def evaluate(encoder: "Encoder", evaluators: "Mapping[str, Evaluator]") -> Evaluation:
    """Runs every evaluator; one that raises is logged with its traceback and named in `failed`."""
    metrics: list[Metric] = []
    known: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, evaluator in evaluators.items():
        try:
            found = [as_metric(reported) for reported in evaluator.run(encoder)]
            values = scalars(found)
            if duplicates := sorted(values.keys() & known.keys()):
                raise ValueError(f"metrics {duplicates} are also reported by another evaluator: set its `prefix`")
        except Exception as error:  # any failure of a task: the others and training continue
            log.exception("evaluator %s failed", name)
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            metrics += found
            known |= values
    return Evaluation(tuple(metrics), failed)
