"""Evaluators, one per task, and the metrics they compute; run during training and on their own.

Modules that need JAX are imported lazily: `svilm score` only reads files and compares numbers, and starts at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from svilm_jax.evaluation.evaluate import Evaluation, evaluate
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.evaluation.section import Section
from svilm_jax.evaluation.table import format_table

if TYPE_CHECKING:
    from svilm_jax.evaluation.registry import EVALUATORS, Evaluator, build_evaluators, register_evaluator
    from svilm_jax.inference.encoder import Encoder

__all__ = [
    "EVALUATORS",
    "Encoder",
    "Evaluation",
    "Evaluator",
    "Metric",
    "Section",
    "Unit",
    "build_evaluators",
    "evaluate",
    "format_table",
    "register_evaluator",
]

_LATE = {
    "Encoder": "svilm_jax.inference.encoder",
    "EVALUATORS": f"{__name__}.registry",
    "Evaluator": f"{__name__}.registry",
    "build_evaluators": f"{__name__}.registry",
    "register_evaluator": f"{__name__}.registry",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
