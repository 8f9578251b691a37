"""Tests of the analytic FLOP count against the compiler's, and of the jaxpr count with loops."""

import jax
import jax.numpy as jnp
import pytest

from svilm_jax.checkpoints.train_state import make_state_spec
from svilm_jax.input.batch_spec import batch_spec
from svilm_jax.objectives import build_objectives
from svilm_jax.parallel import make_mesh
from svilm_jax.profiling.jaxpr_flops import product_flops
from svilm_jax.profiling.model_flops import task_flops
from svilm_jax.training.loss import make_loss
from svilm_jax.training.optimizer import make_optimizer
from tests.tiny import tiny_config

ROWS = 4


def traced(**changes):
    """Value and gradient of a loss of S size on short clips, traced and not compiled."""
    sizes = {
        "model.variant": "S",
        "model.video.hidden_size": 0,
        "model.video.num_heads": 0,
        "model.video.num_layers": 0,
    }
    sizes |= {
        "model.text.hidden_size": 0,
        "model.text.num_heads": 0,
        "model.text.num_layers": 0,
        "train.batch_size": ROWS,
    }
    sizes |= {"model.video.image_size": 64, "model.grouping.after_layers": (6, 12), "model.attention": "xla"}
    config = tiny_config(**{**sizes, "model.scan_unroll": 0, **changes})
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    structure = make_state_spec(config, 1000, 0, make_optimizer(config.optimizer, 6), mesh)
    loss = make_loss(config, structure, build_objectives(config.objectives, config))
    batch = {name: jax.ShapeDtypeStruct(shape, kind) for name, (shape, kind) in batch_spec(config).items()}
    key = jax.eval_shape(lambda: jax.random.key(0))
    return config, jax.jit(jax.value_and_grad(loss, has_aux=True)).trace(structure.shapes.params, batch, key)


@pytest.fixture(scope="module")
def unrolled():
    return traced()


def test_the_count_by_hand_is_within_5_percent_of_the_compilers(unrolled):
    config, trace = unrolled
    counted = trace.lower().cost_analysis()["flops"]
    assert ROWS * task_flops(config) == pytest.approx(counted, rel=0.05)


def test_the_count_in_the_jaxpr_is_the_count_by_hand(unrolled):
    config, trace = unrolled
    assert product_flops(trace.jaxpr) == pytest.approx(ROWS * task_flops(config), rel=0.05)


def test_layers_in_a_loop_count_as_often_as_they_run(unrolled):
    _, trace = unrolled
    _, looped = traced(**{"model.scan_unroll": 1})
    assert product_flops(looped.jaxpr) == pytest.approx(product_flops(trace.jaxpr), rel=1e-6)


def test_what_is_rematerialized_counts_again(unrolled):
    """Forward once more, but for what no gradient needs: patches, projections, the last product of each layer."""
    _, trace = unrolled
    _, again = traced(**{"model.remat": "full"})
    assert 1.2 < product_flops(again.jaxpr) / product_flops(trace.jaxpr) < 4 / 3


def test_products_convolutions_and_branches():
    def function(x, w, k):
        y = jax.lax.conv_general_dilated(x[None, :, None], k, (1,), "VALID", dimension_numbers=("NHC", "HIO", "NHC"))
        return jax.lax.cond(x[0] > 0, lambda: (x @ w @ w).sum(), lambda: (x @ w).sum()) + y.sum()

    jaxpr = jax.make_jaxpr(function)(jnp.ones(6), jnp.ones((6, 6)), jnp.ones((3, 1, 5)))
    assert product_flops(jaxpr) == 2 * 2 * 36 + 2 * 4 * 5 * 3
