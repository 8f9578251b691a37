"""Objectives: pure functions of model outputs and batch, chosen and weighted by `config.objectives`."""

from svilm_jax.objectives.global_contrast import GlobalContrast
from svilm_jax.objectives.registry import OBJECTIVES, Objective, build_objectives, register_objective, total_loss
from svilm_jax.objectives.requirements import Requirement
from svilm_jax.objectives.spatial_grounding import SpatialGrounding
from svilm_jax.objectives.temporal_grouping import TemporalGrouping

__all__ = [
    "OBJECTIVES",
    "GlobalContrast",
    "Objective",
    "Requirement",
    "SpatialGrounding",
    "TemporalGrouping",
    "build_objectives",
    "register_objective",
    "total_loss",
]
