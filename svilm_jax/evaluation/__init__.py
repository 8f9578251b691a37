"""Evaluators, one a task, on metrics, one file each; run during training and alone."""

from svilm_jax.evaluation.encoding import Encoder
from svilm_jax.evaluation.evaluate import Evaluation, evaluate
from svilm_jax.evaluation.registry import KINDS, Evaluator, build_evaluators
from svilm_jax.evaluation.table import format_table, with_baselines

__all__ = [
    "KINDS",
    "Encoder",
    "Evaluation",
    "Evaluator",
    "build_evaluators",
    "evaluate",
    "format_table",
    "with_baselines",
]
