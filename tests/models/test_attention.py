"""Every way to compute attention gives the same values and gradients; padding is not attended to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.models.attention import _choose, attend, check_attention
from svilm_jax.models.splash import block, splash
from svilm_jax.parallel import targeting


def slow_attention(query, key, value, mask):
    """Loops over clips, heads and queries."""
    out = np.zeros_like(query)
    for b, n, h in np.ndindex(query.shape[:3]):
        scores = key[b, :, h] @ query[b, n, h] / np.sqrt(query.shape[-1])
        weights = np.where(mask[b], np.exp(scores - scores.max()), 0)
        out[b, n, h] = (weights / weights.sum()) @ value[b, :, h]
    return out


def made(queries, keys, depth, masked):
    rng = np.random.default_rng(0)
    sizes = ((2, queries, 2, depth), (2, keys, 2, depth), (2, keys, 2, depth))
    arrays = [jnp.asarray(rng.normal(size=size), jnp.float32) for size in sizes]
    mask = rng.random((2, keys)) < 0.6 if masked else np.ones((2, keys), bool)
    mask[:, 0] = True
    return arrays, jnp.asarray(mask)


@pytest.mark.parametrize("implementation", ["xla", "rowwise", "auto"])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_the_formula(implementation, masked):
    arrays, mask = made(5, 7, 8, masked)
    got = attend(*arrays, mask=mask if masked else None, implementation=implementation)
    np.testing.assert_allclose(got, slow_attention(*map(np.asarray, (*arrays, mask))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_rowwise_has_the_gradients_of_the_reference(masked):
    arrays, mask = made(5, 7, 8, masked)

    def slopes(name):
        run = lambda *a: (attend(*a, mask=mask if masked else None, implementation=name) ** 2).sum()  # noqa: E731
        return jax.grad(run, argnums=(0, 1, 2))(*arrays)

    for a, b in zip(slopes("rowwise"), slopes("xla"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "expected"), [(5, 128), (600, 640), (1024, 1024), (1025, 384), (3168, 640), (3200, 640), (12_576, 384)]
)
def test_blocks_of_splash_fill_up_little(tokens, expected):
    assert block(tokens) == expected


# Lengths that fill the kernel's blocks, that do not, and that take several.
@pytest.mark.parametrize(("queries", "keys"), [(128, 128), (70, 200), (600, 600), (130, 1100)])
@pytest.mark.parametrize("masked", [False, True])
def test_splash_has_the_values_and_gradients_of_the_reference(queries, keys, masked):
    arrays, mask = made(queries, keys, 64, masked)
    mask = mask if masked else None
    weights = jnp.asarray(np.random.default_rng(1).normal(size=arrays[0].shape), jnp.float32)

    def of(function):
        return jax.jit(jax.value_and_grad(lambda *a: (function(*a) * weights).sum(), argnums=(0, 1, 2)))(*arrays)

    reference = of(lambda *a: attend(*a, mask=mask, implementation="xla"))
    got = of(lambda *a: splash(*a, mask, interpret=True))
    np.testing.assert_allclose(got[0], reference[0], rtol=1e-3)
    for a, b in zip(got[1], reference[1], strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.fixture
def cudnn_without_a_gpu(monkeypatch):
    """JAX asks for the version of cuDNN where it only lowers; the shapes are checked as on a Hopper GPU."""
    fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91_000)
    monkeypatch.setattr(fused, "check_compute_capability", lambda capability: True)


@pytest.mark.parametrize(("queries", "keys"), [(32, 32), (32, 3136), (77, 513), (3168, 3168)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("cudnn_without_a_gpu")
def test_cudnn_takes_every_length_and_mask(queries, keys, masked):
    shapes = [jax.ShapeDtypeStruct((2, n, 12, 64), jnp.bfloat16) for n in (queries, keys, keys)]
    mask = jnp.ones((2, keys), bool) if masked else None
    loss = lambda *a: attend(*a, mask=mask, implementation="cudnn").astype(jnp.float32).sum()  # noqa: E731
    with targeting("gpu"):
        text = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmha" in text
    assert "Backward" in text


@pytest.mark.parametrize(
    ("device", "queries", "keys", "dtype", "expected"),
    [
        ("gpu", 3168, 3168, jnp.bfloat16, "cudnn"),
        ("gpu", 32, 3136, jnp.bfloat16, "cudnn"),
        ("gpu", 32, 32, jnp.bfloat16, "xla"),  # sentences: short, and masked
        ("gpu", 3168, 3168, jnp.float32, "xla"),
        ("tpu", 3168, 3168, jnp.bfloat16, "splash"),
        ("tpu", 32, 32, jnp.bfloat16, "xla"),
        ("cpu", 3168, 3168, jnp.float32, "rowwise"),
    ],
)
def test_auto_chooses_by_device_and_length(device, queries, keys, dtype, expected):
    query, key = (jax.ShapeDtypeStruct((2, n, 12, 64), dtype) for n in (queries, keys))
    with targeting(device):
        assert _choose(query, key) == expected


@pytest.mark.parametrize("implementation", ["cudnn", "splash"])
def test_a_kernel_that_this_device_lacks_is_refused_in_training_and_replaced_in_use(implementation):
    x = jnp.ones((1, 3, 2, 8))
    with targeting("cpu"):
        np.testing.assert_array_equal(attend(x, x, x, implementation=implementation), attend(x, x, x))
    with pytest.raises(
        ConfigError, match=rf"config\.model\.attention='{implementation}': runs on .* alone, this is a cpu"
    ):
        check_attention(implementation, "cpu")
    check_attention("rowwise", "tpu")
