"""G-TAD temporal action localization head over features of T steps (docs/method.md, 1.7).

Time is divided into T steps; step t covers [t, t + 1) · duration / T seconds. An anchor (s, d) is the d + 1 steps from
s: [s, s + d + 1) · duration / T. All maps over anchors have the start first and the duration second; anchors that end
beyond the video are invalid (`LocalizationOutputs.valid`).

Memory, float32, B = 16, T = 100, width 256, 36 samples: a literal alignment holds B · T² anchors · 36 · 256 numbers,
5.9 GB, four times that in training. Since alignment is linear over time and the following layer is linear over
channels, they are swapped here: the layer first (B · 36 · T · 512 numbers, 118 MB), then the sampling, a product with a
matrix that is built for `chunk` anchors at a time (512 · 36 · T numbers, 7 MB) and only for the T (T + 1) / 2 valid
anchors. The backward pass keeps that matrix (5050 · 36 · T, 73 MB) and its product (B · 5050 · 512, 165 MB). A training
step of these sizes takes 1.0 GB in addition to the parameters, according to the compiler's memory plan for a CPU.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int

from svilm_jax.models.heads.graph import GAIN, GCNeXt, GroupedConv, gather_steps, masked, nearest_steps
from svilm_jax.models.linear import Linear
from svilm_jax.models.outputs import LocalizationOutputs
from svilm_jax.parallel import constrain

# The logit of an invalid anchor: a probability of 1e-13, and no infinity in any gradient.
MASK_VALUE = -30.0
FLOAT32 = jnp.dtype(jnp.float32)


def anchors(steps: int) -> np.ndarray:
    """Returns int32 [T (T + 1) / 2, 2]: (start, duration) of every anchor inside T steps, by start, then duration."""
    return np.array([(s, d) for s in range(steps) for d in range(steps - s)], np.int32)


def sampling_weights(
    start: Int[Array, " A"], duration: Int[Array, " A"], steps: int, samples: int
) -> Float32[Array, "A {samples} {steps}"]:
    """Computes the weight of each step in each sample of each anchor: SGAlign [A: the authors' Align1D].

    The anchor, extended by half of its length on either side, is divided into `samples` bins. A bin is the mean of
    n = ceil(length of the extended anchor / samples) points spread evenly over it. A point between two steps is
    interpolated linearly; one within a step of either end takes the value at that end, and one farther out is zero.
    In units of steps the extended anchor is [s - (d + 1) / 2, s + d + (d + 1) / 2].

    Args:
      start: int32 [A], start step of each anchor.
      duration: int32 [A], duration of each anchor in steps.
      steps: T.
      samples: P.

    Returns:
      float32 [A, P, T].
    """
    most = -(-(2 * steps - 1) // samples)  # points in a bin of the longest anchor
    s, d = start[:, None, None], duration[:, None, None]  # [A, 1, 1]
    length = 2 * d + 1
    points = (length + samples - 1) // samples
    bins, point = jnp.arange(samples)[:, None], jnp.arange(most)
    # In integers of 1 / unit steps: points often lie exactly on an end, where rounding would drop or keep them.
    unit = 2 * samples * points
    place = unit * s - samples * points * (d + 1) + length * (2 * (bins * points + point) + 1)  # [A, P, most]
    counts = (point < points) & (place >= -unit) & (place <= steps * unit)
    near = jnp.clip(place / unit, 0, steps - 1)[..., None]  # [A, P, most, 1]
    weight = jnp.maximum(1 - jnp.abs(jnp.arange(steps) - near), 0)  # [A, P, most, T]
    return jnp.where(counts[..., None], weight, 0).sum(axis=2) / points


class SGAlign(nnx.Module):
    """Sub-graph alignment and the two layers after it: features of steps -> features of anchors.

    `inner` samples are taken of the features, `context` samples of the mean feature of every step's nearest steps [A].
    """

    def __init__(
        self,
        width: int,
        hidden: tuple[int, int],
        *,
        steps: int,
        inner: int,
        context: int,
        neighbors: int,
        itself: bool,
        chunk: int,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.steps, self.inner, self.context, self.chunk = steps, inner, context, chunk
        self.neighbors, self.itself, self.dtype = neighbors, itself, dtype
        initial = nnx.initializers.variance_scaling(GAIN, "fan_in", "truncated_normal", (0, 1), 2)
        kernel = initial(rngs.params(), (inner + context, width, hidden[0]))
        self.kernel = nnx.Param(kernel, axes=(None, "embed", "mlp"))
        self.bias = nnx.Param(jnp.zeros(hidden[0]), axes=("mlp",))
        self.reduce = Linear(*hidden, ("mlp", "embed"), gain=GAIN, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"] | None = None) -> Float[Array, "B T T H"]:
        """[B, T, D] -> [B, T (start), T (duration), hidden[1]], zero at invalid anchors."""
        kernel = self.kernel[...].astype(self.dtype)
        # Samples and steps come first, so that the product over both below is one matrix product for the whole batch.
        layer = functools.partial(jnp.einsum, "btc,pch->ptbh")
        mixed = layer(x, kernel[: self.inner])  # [inner, T, B, H]
        if self.context:
            index, exists = nearest_steps(x, self.neighbors, itself=self.itself, mask=mask)
            around = jnp.where(exists[..., None], gather_steps(x, index), 0).sum(axis=2)  # [B, T, D]
            around = around / jnp.maximum(exists.sum(axis=2, keepdims=True), 1).astype(x.dtype)
            mixed = jnp.concatenate([mixed, layer(masked(around, mask), kernel[self.inner :])])  # [P, T, B, H]
        mixed = constrain(mixed, None, None, "batch", None)

        def evaluate(some: jax.Array) -> jax.Array:
            counts = [n for n in (self.inner, self.context) if n]
            weights = [sampling_weights(some[:, 0], some[:, 1], self.steps, n) for n in counts]
            sampling = jnp.concatenate(weights, axis=1).astype(self.dtype)  # [chunk, P, T]
            aligned = jnp.einsum("apt,ptbh->abh", sampling, mixed) + self.bias[...].astype(self.dtype)
            return jax.nn.relu(self.reduce(jax.nn.relu(aligned)))  # [chunk, B, hidden[1]]

        every = anchors(self.steps)
        chunk = min(self.chunk, len(every))
        padded = np.pad(every, ((0, -len(every) % chunk), (0, 0)))  # with anchors whose rows are removed again
        rows = jax.lax.map(evaluate, jnp.asarray(padded.reshape(-1, chunk, 2)))  # [A/chunk, chunk, B, hidden[1]]
        rows = rearrange(rows, "chunks a b h -> (chunks a) b h")[: len(every)]  # [A, B, hidden[1]]
        empty = jnp.zeros((self.steps, self.steps, *rows.shape[1:]), rows.dtype)
        where = (every[:, 0], every[:, 1])
        filled = empty.at[where].set(rows, indices_are_sorted=True, unique_indices=True)  # [T, T, B, hidden[1]]
        return rearrange(filled, "start duration b h -> b start duration h")


class GTAD(nnx.Module):
    """Features -> `LocalizationOutputs`.

    Sizes are those of the authors' code for ActivityNet-1.3 [A]: 5,563,268 parameters with 400 features and no classes.
    Their model summary, 9,495,428, is for 64 samples (32 + 32) and convolutions of 3 × 3 anchors, used on THUMOS.

    Attributes (arguments):
      features: width of the input.
      steps: T.
      width: width of the backbone.
      hidden: widths of the layers over anchors.
      groups, path: number of paths of a GCNeXt block, and channels per path.
      input_groups: groups of the first convolution.
      neighbors: number k of edges per step.
      itself: whether a step is its own first neighbor, see `nearest_steps`.
      inner, context: samples of an anchor, see `SGAlign`.
      kernel: kernel size of the two convolutions over the map of anchors.
      classes: number C of classes of the per-step classification branch (own addition [C]: three steps of the base
        features, one hidden layer; one further output for background), 0 for none.
      chunk: anchors evaluated at a time.
    """

    def __init__(
        self,
        features: int,
        *,
        steps: int = 100,
        width: int = 256,
        hidden: tuple[int, int] = (512, 128),
        groups: int = 32,
        path: int = 4,
        input_groups: int = 4,
        neighbors: int = 3,
        itself: bool = True,
        inner: int = 32,
        context: int = 4,
        kernel: int = 1,
        classes: int = 0,
        chunk: int = 512,
        dtype: DTypeLike = FLOAT32,
        rngs: nnx.Rngs,
    ):
        self.features, self.steps, self.dtype = features, steps, dtype

        def block() -> GCNeXt:
            return GCNeXt(width, groups=groups, path=path, neighbors=neighbors, itself=itself, dtype=dtype, rngs=rngs)

        def readout(rows: int, columns: int) -> Linear:
            return Linear(rows, columns, ("embed", None), gain=GAIN, dtype=FLOAT32, rngs=rngs)

        def over_anchors() -> nnx.Conv:
            return nnx.Conv(
                hidden[1], hidden[1], (kernel, kernel), dtype=dtype, rngs=rngs,
                kernel_init=nnx.initializers.variance_scaling(GAIN, "fan_in", "truncated_normal"),
                kernel_metadata={"axes": (None, None, "embed", None)}, bias_metadata={"axes": ("norm",)},
            )  # fmt: skip

        self.stem = GroupedConv(features, width, kernel=3, groups=input_groups, dtype=dtype, rngs=rngs)
        self.base, self.trunk = block(), block()
        self.start, self.start_logit = block(), readout(width, 1)
        self.end, self.end_logit = block(), readout(width, 1)
        self.align = SGAlign(
            width, hidden, steps=steps, inner=inner, context=context, neighbors=neighbors, itself=itself,
            chunk=chunk, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.first, self.second, self.score = over_anchors(), over_anchors(), readout(hidden[1], 2)
        self.class_hidden = self.class_logit = nnx.data(None)
        if classes:
            self.class_hidden = nnx.data(GroupedConv(width, width, kernel=3, groups=1, dtype=dtype, rngs=rngs))
            self.class_logit = nnx.data(readout(width, classes + 1))

    def __call__(self, features: Float[Array, "B T D"], mask: Bool[Array, "B T"] | None = None) -> LocalizationOutputs:
        """features float [B, T, features], mask bool [B, T] of the steps that exist (None: all of them).

        Raises:
          ValueError: the number of steps or the width of the features differs from the head's.
        """
        if features.shape[1:] != (self.steps, self.features):
            raise ValueError(
                f"features {features.shape}: this head takes [B, {self.steps}, {self.features}]; resize them first "
                "(svilm_jax/input/segments.py)"
            )
        features = constrain(masked(features, mask), "batch", None, None)
        base = self.base(masked(jax.nn.relu(self.stem(features)), mask), mask)  # [B, T, width]
        start = self.start_logit(self.start(base, mask))[..., 0]  # [B, T]
        end = self.end_logit(self.end(base, mask))[..., 0]

        over = self.align(self.trunk(base, mask), mask)  # [B, T, T, hidden[1]]
        over = jax.nn.relu(self.second(jax.nn.relu(self.first(over))))
        valid = self._inside(mask, len(features))
        scores = self.score(over)  # [B, T, T, 2]
        scores = rearrange(scores, "b start duration two -> b two start duration")
        scores = jnp.where(valid[:, None], scores, MASK_VALUE)

        classes = None
        if self.class_hidden is not None and self.class_logit is not None:
            classes = self.class_logit(jax.nn.relu(self.class_hidden(base)))  # [B, T, C + 1]
        return LocalizationOutputs(start=start, end=end, scores=scores, valid=valid, classes=classes)

    def _inside(self, mask: jax.Array | None, batch: int) -> jax.Array:
        """Returns bool [B, T, T]: anchors all of whose steps exist."""
        first, last = np.arange(self.steps)[:, None], np.add.outer(np.arange(self.steps), np.arange(self.steps))
        inside = last < self.steps  # [T, T]
        if mask is None:
            return jnp.broadcast_to(inside, (batch, *inside.shape))
        missing = jnp.pad(jnp.cumsum(~mask, axis=1), ((0, 0), (1, 0)))  # [B, T + 1], before each step
        return jnp.asarray(inside) & (missing[:, np.minimum(last + 1, self.steps)] == missing[:, first])
