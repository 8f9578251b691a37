"""Dot-product attention with several implementations, and the multi-head attention module."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from svilm_jax.config import ConfigError
from svilm_jax.models.linear import Linear
from svilm_jax.models.splash import splash
from svilm_jax.parallel import constrain, layout, platform

# Logical names of the sequence and token axes, such as ("batch", "seq").
Axes = tuple[str | None, str | None]

# Number of keys above which the flash kernel is faster on a TPU; shorter rows (sentences) fit into fast memory [C].
SPLASH_KEYS = 512
# Likewise on a GPU: below it, XLA's fused softmax is as fast, takes any mask, and compiles without cuDNN's planner [C].
CUDNN_KEYS = 256
# Kinds of devices that have an implementation; those that are not here run everywhere.
_DEVICES = {"cudnn": ("gpu",), "splash": ("tpu",)}


def attend(
    query: Float[Array, "B N H d"],
    key: Float[Array, "B S H d"],
    value: Float[Array, "B S H d"],
    *,
    mask: Bool[Array, "B S"] | None = None,
    implementation: str = "auto",
    axes: Axes = ("batch", None),
) -> Float[Array, "B N H d"]:
    """Computes softmax(q kᵀ / √d) v, with the softmax in float32.

    Args:
      query: [B, N, H, d].
      key: [B, S, H, d].
      value: [B, S, H, d].
      mask: bool [B, S], False where a key is padding; every row needs at least one True.
      implementation: `xla` is the reference; `cudnn` needs an NVIDIA GPU and 16-bit inputs; `splash` is JAX's flash
        kernel for TPUs; `rowwise` processes one clip and head at a time and stores no scores for the backward pass,
        which is the fastest on CPU; `auto` chooses by device, and so does an implementation that
        this device does not have.
      axes: logical axes of the queries. Where their tokens are sharded, every device gets all keys and values.

    Returns:
      [B, N, H, d] in the dtype of the query.
    """
    if implementation == "auto" or platform() not in _DEVICES.get(implementation, (platform(),)):
        implementation = _choose(query, key)  # a model that was trained on another kind of device is used on this one
    of_queries, of_keys = (*axes, "heads", None), (axes[0], None, "heads", None)
    mesh = jax.sharding.get_abstract_mesh()
    if implementation == "xla" or mesh.empty or mesh.size == 1:
        key, value = constrain(key, *of_keys), constrain(value, *of_keys)
        return _KERNELS[implementation](query, key, value, mask)
    # A kernel is not aware of the mesh: every device runs it on its own clips, heads and queries.
    rows, keys = layout(query.shape, of_queries, mesh), layout(key.shape, of_keys, mesh)
    given = () if mask is None else (mask,)
    specs = (rows, keys, keys, *(layout(m.shape, (axes[0], None), mesh) for m in given))
    local = jax.shard_map(_KERNELS[implementation], in_specs=specs, out_specs=rows, check_vma=False)
    return local(query, key, value, *given)


def check_attention(implementation: str, device: str) -> None:
    """Refuses an implementation that a kind of device (`cpu`, `gpu`, `tpu`) does not have.

    Raises:
      ConfigError: naming the key.
    """
    devices = _DEVICES.get(implementation, (device,))
    if device not in devices:
        raise ConfigError(
            f"config.model.attention={implementation!r}: runs on {' and '.join(devices)} alone, this is a {device}; "
            "'auto' chooses by device"
        )


def _choose(query: jax.Array, key: jax.Array) -> str:
    device = platform()
    if device == "cpu":
        return "rowwise"
    if device == "tpu":
        return "splash" if min(query.shape[1], key.shape[1]) >= SPLASH_KEYS else "xla"
    if device == "gpu":
        half = query.dtype in (jnp.bfloat16, jnp.float16)
        return "cudnn" if half and query.shape[-1] % 8 == 0 and key.shape[1] >= CUDNN_KEYS else "xla"
    return "xla"


def _xla(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    keep = None if mask is None else mask[:, None, None, :]
    return jax.nn.dot_product_attention(query, key, value, mask=keep, implementation="xla")


def _cudnn(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Computes flash attention by cuDNN, which requires even lengths, and a mask in the form of a full bias."""
    batch, queries, keys = query.shape[0], query.shape[1], key.shape[1]
    even = lambda x: jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))  # noqa: E731
    options: dict[str, Any] = {}
    if mask is not None:
        keep = jnp.pad(mask, ((0, 0), (0, keys % 2)))[:, None, None, :]  # [B, 1, 1, S]
        options["mask"] = jnp.broadcast_to(keep, (batch, 1, queries + queries % 2, keys + keys % 2))
    elif keys % 2:
        options["key_value_seq_lengths"] = jnp.full(batch, keys, jnp.int32)
    mixed = jax.nn.dot_product_attention(even(query), even(key), even(value), implementation="cudnn", **options)
    return mixed[:, :queries]


def _rowwise(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    heads, depth = query.shape[2:]
    if mask is None:
        mask = jnp.ones(key.shape[:2], bool)

    def rows(x: jax.Array) -> jax.Array:
        return rearrange(x, "b n h d -> (b h) n d")

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(row: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> jax.Array:
        q, k, v, keep = row
        scores = jnp.where(keep, (q @ k.T).astype(jnp.float32) * depth**-0.5, -1e30)  # [N, S]
        weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
        # Divides the product and not the weights: N·d divisions instead of N·S.
        return ((weights.astype(v.dtype) @ v) / weights.sum(axis=-1, keepdims=True)).astype(v.dtype)

    mixed = jax.lax.map(one, (rows(query), rows(key), rows(value), jnp.repeat(mask, heads, axis=0)))
    return rearrange(mixed, "(b h) n d -> b n h d", h=heads)


# (query, key, value, mask) -> [B, N, H, d]
_KERNELS: dict[str, Callable[..., jax.Array]] = {
    "xla": _xla,
    "cudnn": _cudnn,
    "splash": splash,
    "rowwise": _rowwise,
}


class Attention(nnx.Module):
    """Multi-head attention; self-attention if no context is given."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        implementation: str,
        axes: Axes = ("batch", None),
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        if width % heads:
            raise ConfigError(f"width {width} is not divisible by {heads} heads")
        self.heads, self.implementation, self.axes = heads, implementation, axes

        def projection() -> Linear:
            return Linear(width, width, ("embed", "heads"), dtype=dtype, rngs=rngs)

        self.query, self.key, self.value = projection(), projection(), projection()
        self.out = Linear(width, width, ("heads", "embed"), dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B N D"],
        context: Float[Array, "B S D"] | None = None,
        mask: Bool[Array, "B S"] | None = None,
    ) -> Float[Array, "B N D"]:
        """x [B, N, D], context [B, S, D], mask bool [B, S] of the keys -> [B, N, D]."""
        context = x if context is None else context
        query, key, value = self.query(x), self.key(context), self.value(context)
        with jax.named_scope("attend"):
            mixed = attend(
                *(rearrange(y, "b n (h d) -> b n h d", h=self.heads) for y in (query, key, value)),
                mask=mask,
                implementation=self.implementation,
                axes=self.axes,
            )
        return self.out(rearrange(mixed, "b n h d -> b n (h d)"))
