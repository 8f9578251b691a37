"""Tests of objectives defined outside the package."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives import OBJECTIVES, Requirement, build_objectives, register_objective, total_loss
from svilm_jax.objectives.requirements import SPLICES
from tests.tiny import tiny_config


@dataclasses.dataclass(frozen=True)
class ScaleBelow:
    """Penalizes a logit scale above a limit."""

    weight: float = 1.0
    limit: float = 5.0

    NEEDS = (Requirement("task", "clips: config.task=video_text", ("video_text",)), SPLICES)
    READS = ("logit_scale",)
    SPANS_BATCH = False

    def __call__(self, outputs, batch, rng):
        excess = jnp.maximum(outputs.logit_scale - self.limit, 0)
        return excess, {"above": (excess > 0).astype(jnp.float32)}


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """Registration in one test does not reach another."""
    for name, objective in list(OBJECTIVES.items()):
        monkeypatch.setitem(OBJECTIVES, name, objective)
    monkeypatch.setitem(OBJECTIVES, "scale_below", ScaleBelow)
    monkeypatch.delitem(OBJECTIVES, "scale_below")


def test_a_registered_objective_is_built_and_weighted():
    register_objective("scale_below", ScaleBelow)
    objectives = build_objectives({"scale_below": {"weight": 2.0, "limit": 3.0}}, tiny_config())
    assert objectives == {"scale_below": ScaleBelow(2.0, 3.0)}
    total, metrics = total_loss(objectives, Outputs(video=None, logit_scale=jnp.float32(4.5)), {}, jax.random.key(0))
    assert float(total) == 3.0
    assert (float(metrics["loss/scale_below"]), float(metrics["scale_below/above"])) == (1.5, 1.0)
    with pytest.raises(ConfigError, match=r"config\.objectives\.scale_below.*limits"):
        build_objectives({"scale_below": {"limits": 3.0}}, tiny_config())
    with pytest.raises(ConfigError, match=r"^config\.objectives\.scale_below needs cut and paste: .*enabled is False$"):
        build_objectives({"scale_below": {}}, tiny_config(**{"splice.enabled": False}))


def test_what_is_not_an_objective_is_rejected():
    with pytest.raises(ValueError, match=r"'global_contrast' is registered already, by svilm_jax\.objectives\.global"):
        register_objective("global_contrast", ScaleBelow)
    with pytest.raises(TypeError, match="expected a frozen dataclass with a field `weight`"):
        register_objective("other", dict)

    @dataclasses.dataclass(frozen=True)
    class Incomplete:
        weight: float = 1.0
        READS = ()

    with pytest.raises(TypeError, match="Incomplete lacks NEEDS, SPANS_BATCH"):
        register_objective("other", Incomplete)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "localization",
            {"low": 0.8, "high": 0.3},
            "low=0.8: expected at most .*localization.high=0.3",
        ),
        ("multilevel_alignment", {"global_weight": 0.0, "segment_weight": 0.0}, "both 0, which disables"),
    ],
)
def test_options_that_exclude_each_other_name_the_key(name, options, message):
    with pytest.raises(ConfigError, match=rf"^config\.objectives\.{name}(: .*|\.){message}"):
        build_objectives({name: options}, tiny_config())
