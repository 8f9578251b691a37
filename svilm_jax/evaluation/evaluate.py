"""Evaluation of a model by all evaluators of a config; the failure of one does not stop the others."""

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: both import JAX, and this function's package is imported without it
    from svilm_jax.evaluation.registry import Evaluator
    from svilm_jax.inference.encoder import Encoder

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
      metrics: name -> value, of the evaluators that finished.
      failed: evaluator -> reason, of those that did not; none of their metrics are kept.
    """

    metrics: dict[str, float]
    failed: dict[str, str]


def evaluate(encoder: "Encoder", evaluators: "Mapping[str, Evaluator]") -> Evaluation:
    """Runs every evaluator; one that raises is logged with its traceback and named in `failed`."""
    metrics: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, evaluator in evaluators.items():
        try:
            values = dict(evaluator.run(encoder))
            if duplicates := sorted(values.keys() & metrics.keys()):
                raise ValueError(f"metrics {duplicates} are also reported by another evaluator: set its `prefix`")
            if bad := sorted(key for key, value in values.items() if not math.isfinite(value)):
                raise ValueError(f"metrics {bad} are not finite")
        except Exception as error:  # any failure of a task: the others and training continue
            log.exception("evaluator %s failed", name)
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            metrics.update(values)
    return Evaluation(metrics, failed)
