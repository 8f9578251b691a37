"""GCNeXt block of G-TAD: convolutions over time and over a nearest-neighbor graph of the features.

From G-TAD (arXiv 1911.11462, section 3.2 and the authors' code [A]): every step receives input from its neighbors in
time and from the steps with the most similar features, anywhere in the video.
"""

import jax
import jax.numpy as jnp
from einops import rearrange, reduce
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from svilm_jax.config import ConfigError
from svilm_jax.models.linear import Linear

# Weight variance times fan-in: the default convolution initialization of the authors' framework, which their learning
# rate was tuned for [A]. This head has no norms that would compensate for a different scale.
GAIN = 1 / 3


def nearest_steps(
    features: Float[Array, "B T D"], count: int, *, itself: bool = True, mask: Bool[Array, "B T"] | None = None
) -> tuple[Int[Array, "B T {count}"], Bool[Array, "B T {count}"]]:
    """Finds the steps whose features are nearest in Euclidean distance.

    The selection is discrete and has no gradient; the features gathered by it do.

    Args:
      features: [B, T, D]; distances are float32 for any dtype, since close neighbors differ in low-order bits.
      count: number k of neighbors per step.
      itself: whether a step is its own first neighbor, as in the authors' code [A], which sorts distances including the
        zero on the diagonal.
      mask: bool [B, T], steps that exist.

    Returns:
      int32 [B, T, k] indices, nearest first, ties by the lower index; and bool [B, T, k], False where fewer than k
      steps exist: the index there is that of the step itself.

    Raises:
      ValueError: more neighbors than steps.
    """
    steps = features.shape[1]
    if not 0 < count <= steps - (not itself):
        raise ValueError(f"{count} neighbors among {steps} steps{'' if itself else ' without the step itself'}")
    x = jax.lax.stop_gradient(features).astype(jnp.float32)
    square = (x * x).sum(axis=-1)  # [B, T]
    product = jnp.einsum("bic,bjc->bij", x, x, precision=jax.lax.Precision.HIGHEST)
    distance = square[:, :, None] + square[:, None, :] - 2 * product  # [B, T, T]
    if mask is not None:
        distance = jnp.where(mask[:, None, :], distance, jnp.inf)
    # Assigned and not computed: rounding makes the distance of a step to itself slightly nonzero, of either sign.
    diagonal = jnp.eye(steps, dtype=bool)
    distance = jnp.where(diagonal, -jnp.inf if itself else jnp.inf, distance)
    negative, index = jax.lax.top_k(-distance, count)  # [B, T, k]
    exists = negative > -jnp.inf
    return jnp.where(exists, index, jnp.arange(steps)[:, None]), exists


def gather_steps(features: Float[Array, "B T D"], index: Int[Array, "B T k"]) -> Float[Array, "B T k D"]:
    """Gathers features of steps: [B, T, D] and int32 [B, T, k] -> [B, T, k, D]."""
    flat = jnp.take_along_axis(features, rearrange(index, "b t k -> b (t k) 1"), axis=1)  # [B, T*k, D]
    return rearrange(flat, "b (t k) d -> b t k d", t=index.shape[1])


class GroupedConv(nnx.Module):
    """Grouped convolution over time, zero-padded at both ends.

    Implemented as one matrix product per group: compilers run grouped convolutions with few channels per group as plain
    loops.
    """

    def __init__(self, rows: int, columns: int, *, kernel: int, groups: int, dtype: DTypeLike, rngs: nnx.Rngs):
        if rows % groups or columns % groups:
            raise ConfigError(f"{rows} -> {columns} channels are not divisible into {groups} groups")
        if kernel % 2 != 1:
            raise ConfigError(f"a kernel of {kernel} steps has no center: expected an odd number")
        self.groups, self.reach, self.dtype = groups, kernel // 2, dtype
        shape = (groups, kernel * rows // groups, columns // groups)
        initial = nnx.initializers.variance_scaling(GAIN, "fan_in", "truncated_normal", 1, 2, (0,))
        self.kernel = nnx.Param(initial(rngs.params(), shape), axes=(None, "embed", None))
        self.bias = nnx.Param(jnp.zeros(columns), axes=("norm",))

    def __call__(self, x: Float[Array, "B T rows"]) -> Float[Array, "B T columns"]:
        """[B, T, rows] -> [B, T, columns]."""
        steps = x.shape[1]
        x = rearrange(x.astype(self.dtype), "b t (g d) -> b t g d", g=self.groups)
        padded = jnp.pad(x, ((0, 0), (self.reach, self.reach), (0, 0), (0, 0)))
        window = [padded[:, offset : offset + steps] for offset in range(2 * self.reach + 1)]
        seen = jnp.concatenate(window, axis=-1)  # [B, T, G, kernel*rows/G]
        out = jnp.einsum("btgi,gio->btgo", seen, self.kernel[...].astype(self.dtype))
        return rearrange(out, "b t g d -> b t (g d)") + self.bias[...].astype(self.dtype)


class GCNeXt(nnx.Module):
    """relu(x + temporal branch + semantic branch), both bottlenecks with grouped middle layers.

    Temporal: 1×1, grouped convolution over three steps, 1×1. Semantic: for each of the k edges of a step 1×1 over
    (neighbor, step), grouped 1×1, 1×1; then the maximum over the edges.
    """

    def __init__(
        self, width: int, *, groups: int, path: int, neighbors: int, itself: bool, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.neighbors, self.itself = neighbors, itself
        hidden = groups * path

        def down(gain: float = GAIN, use_bias: bool = True) -> Linear:
            return Linear(width, hidden, ("embed", "mlp"), use_bias=use_bias, gain=gain, dtype=dtype, rngs=rngs)

        def up() -> Linear:
            return Linear(hidden, width, ("mlp", "embed"), gain=GAIN, dtype=dtype, rngs=rngs)

        self.temporal_down, self.temporal_up = down(), up()
        self.temporal_mix = GroupedConv(hidden, hidden, kernel=3, groups=groups, dtype=dtype, rngs=rngs)
        # One 1×1 over the concatenation (neighbor, step) is the sum of one over each: applied before the gather, it
        # runs once per step instead of once per edge. Each sees half of the joint fan-in, hence half of the gain.
        self.semantic_neighbor, self.semantic_step = down(GAIN / 2, use_bias=False), down(GAIN / 2)
        self.semantic_mix = GroupedConv(hidden, hidden, kernel=1, groups=groups, dtype=dtype, rngs=rngs)
        self.semantic_up = up()

    def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"] | None = None) -> Float[Array, "B T D"]:
        """x [B, T, D], mask bool [B, T] of the steps that exist -> [B, T, D], zero at steps that do not exist."""
        steps = x.shape[1]
        temporal = jax.nn.relu(self.temporal_mix(jax.nn.relu(self.temporal_down(x))))
        temporal = self.temporal_up(temporal)

        index, _ = nearest_steps(x, self.neighbors, itself=self.itself, mask=mask)
        edges = gather_steps(self.semantic_neighbor(x), index) + self.semantic_step(x)[:, :, None]  # [B, T, k, H]
        edges = rearrange(jax.nn.relu(edges), "b t k h -> b (t k) h")
        edges = self.semantic_up(jax.nn.relu(self.semantic_mix(edges)))
        semantic = reduce(edges, "b (t k) d -> b t d", "max", t=steps)
        return masked(jax.nn.relu(x + temporal + semantic), mask)


def masked(x: Float[Array, "B T D"], mask: Bool[Array, "B T"] | None) -> Float[Array, "B T D"]:
    """Sets x [B, T, D] to zero at steps that do not exist, as a convolution's padding does beyond the ends."""
    return x if mask is None else jnp.where(mask[..., None], x, 0)
