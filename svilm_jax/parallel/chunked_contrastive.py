"""Chunked pairwise reductions over a global batch, without materializing all pairs.

A contrastive loss over B pairs reads B x B scores, and grounding B x B x M x K cosines. Here each device compares its
own rows with one chunk of columns at a time, forward and backward (scores are recomputed and not stored), so that
memory grows with B·chunk. Columns come from the other devices in one of two ways:

- `gather`: all of them at once, B x C numbers per device;
- `ring`: passed from neighbor to neighbor, so that a device never holds more than its own shard of them; the partial
  results of a column travel with it and are complete when it is back on its device.

Both follow open_clip's losses and SigLIP (arXiv 2303.15343, section 3.3); experiments/benchmarks/contrast.py compares
their speed.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float32

from svilm_jax.parallel.mesh import BATCH_AXES, data_parallelism

Exchange = Literal["gather", "ring"]
# Finite, so that 0 · NEVER stays 0 in gradients; far below any cosine divided by any temperature in use.
MASK_VALUE = -1e9

# (rows [r, ...], columns [c, ...]) -> float32 [r, c]; both are pytrees of float arrays.
Score = Callable[[Any, Any], jax.Array]


@dataclasses.dataclass(frozen=True)
class Streaming:
    """Options of a chunked reduction over pairs.

    Attributes:
      chunk: number of columns processed at a time.
      exchange: `gather` or `ring`.
      reduction: `logsumexp`, or `softplus`, the sum of log(1 + exp(s)).
    """

    chunk: int
    exchange: Exchange = "gather"
    reduction: str = "logsumexp"


def reduce_pairs(
    score: Score,
    rows: Any,
    columns: Any,
    row_mask: Bool[Array, " B"],
    column_mask: Bool[Array, " B"],
    streaming: Streaming,
) -> tuple[Float32[Array, " B"], Float32[Array, " B"], Float32[Array, " B"]]:
    """Reduces every row over all existing columns, and every column over all existing rows.

    Args:
      score: scores of some rows against some columns.
      rows: pytree of float arrays [B, ...], sharded over the devices as batches are.
      columns: as `rows`.
      row_mask: bool [B], which rows exist.
      column_mask: bool [B], which columns exist.
      streaming: chunk size and exchange of the computation.

    Returns:
      three float32 [B]: the reduction of each row, the reduction of each column, and the largest score of each row
      among the columns that are not its own (no gradient).
    """
    return _reduce(score, streaming, rows, columns, row_mask, column_mask)


def diagonal(score: Score, rows: Any, columns: Any) -> Float32[Array, " B"]:
    """Returns the scores of the matched pairs, float32 [B]."""

    def one(row: Any, column: Any) -> jax.Array:
        first = functools.partial(jax.tree.map, lambda x: x[None])
        return score(first(row), first(column))[0, 0]

    return jax.vmap(one)(rows, columns)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _reduce(
    score: Score, streaming: Streaming, rows: Any, columns: Any, row_mask: jax.Array, column_mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _on_devices(functools.partial(_forward, score, streaming))(rows, columns, row_mask, column_mask)


def _reduce_forward(score: Score, streaming: Streaming, *inputs: Any) -> tuple[Any, Any]:
    found = _reduce(score, streaming, *inputs)
    return found, (*inputs, *found[:2])


def _reduce_backward(score: Score, streaming: Streaming, kept: Any, cotangents: Any) -> tuple[Any, Any, None, None]:
    backward = _on_devices(functools.partial(_backward, score, streaming))
    return (*backward(*kept, *cotangents[:2]), None, None)


_reduce.defvjp(_reduce_forward, _reduce_backward)


def _on_devices(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `function(axes, *arrays)` on every device with its rows of the arrays; directly without sharding."""
    if data_parallelism(jax.sharding.get_abstract_mesh()) == 1:
        return functools.partial(function, ())
    spec = PartitionSpec(BATCH_AXES)
    return jax.shard_map(functools.partial(function, BATCH_AXES), in_specs=spec, out_specs=spec, check_vma=False)


def _forward(
    score: Score,
    streaming: Streaming,
    axes: tuple[str, ...],
    rows: Any,
    columns: Any,
    row_mask: jax.Array,
    column_mask: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    count = len(row_mask)
    place, pieces = _place(axes)
    numbers = place * count + jnp.arange(count)  # of this device's rows and columns in the global batch
    reduction = _REDUCTIONS[streaming.reduction]

    def chunk(found: Any, some: Any) -> tuple[Any, jax.Array]:
        (row, best), (inputs, mask, number) = found, some
        scores = score(rows, inputs)  # [b, chunk]
        wrong = mask[None] & (numbers[:, None] != number[None])
        best = jnp.maximum(best, jnp.where(wrong, scores, -jnp.inf).max(axis=1))
        row = reduction.combine(row, reduction.of(jnp.where(mask[None], scores, MASK_VALUE), 1))
        return (row, best), reduction.of(jnp.where(row_mask[:, None], scores, MASK_VALUE), 0)

    def block(found: Any, inputs: Any, mask: jax.Array, number: jax.Array) -> tuple[Any, jax.Array]:
        """Compares all columns of a block with this device's rows: [b] per row, and [n] per column."""
        chunks = _chunks((inputs, mask, number), streaming.chunk)
        found, column = jax.lax.scan(chunk, found, chunks)
        return found, column.reshape(-1)[: len(mask)]

    empty = jnp.full(count, reduction.empty)
    found = (empty, jnp.full(count, -jnp.inf))
    if streaming.exchange == "gather" or pieces == 1:
        everything = _gather((columns, column_mask, numbers), axes)
        (row, best), partial = block(found, *everything)
        return row, reduction.across(partial, axes, place, count), best

    def pass_on(state: Any, _: None) -> tuple[Any, None]:
        found, travelling, column = state
        following = _to_neighbor(travelling, axes, pieces)  # in transit while this block is processed
        found, partial = block(found, *travelling)
        return (found, following, _to_neighbor(reduction.combine(column, partial), axes, pieces)), None

    state = (found, (columns, column_mask, numbers), empty)
    ((row, best), _, column), _ = jax.lax.scan(pass_on, state, length=pieces)
    return row, column, best


def _backward(
    score: Score,
    streaming: Streaming,
    axes: tuple[str, ...],
    rows: Any,
    columns: Any,
    row_mask: jax.Array,
    column_mask: jax.Array,
    row: jax.Array,
    column: jax.Array,
    row_cotangent: jax.Array,
    column_cotangent: jax.Array,
) -> tuple[Any, Any]:
    _, pieces = _place(axes)
    reduction = _REDUCTIONS[streaming.reduction]

    def chunk(gradient: Any, some: Any) -> tuple[Any, Any]:
        inputs, mask, total, cotangent = some
        scores, pull = jax.vjp(score, rows, inputs)
        # Each score contributes to its row and to its column.
        slope = jnp.where(mask[None], reduction.slope(scores, row[:, None]) * row_cotangent[:, None], 0)
        slope += jnp.where(row_mask[:, None], reduction.slope(scores, total[None]) * cotangent[None], 0)
        of_rows, of_columns = pull(slope)
        return jax.tree.map(jnp.add, gradient, of_rows), of_columns

    def block(gradient: Any, *some: Any) -> tuple[Any, Any]:
        gradient, of_columns = jax.lax.scan(chunk, gradient, _chunks(some, streaming.chunk))
        return gradient, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: len(some[1])], of_columns)

    zero = functools.partial(jax.tree.map, jnp.zeros_like)
    own = (columns, column_mask, column, column_cotangent)
    if streaming.exchange == "gather" or pieces == 1:
        of_rows, of_columns = block(zero(rows), *_gather(own, axes))
        return of_rows, _sum_own(of_columns, axes)

    def pass_on(state: Any, _: None) -> tuple[Any, None]:
        of_rows, travelling, of_columns = state
        following = _to_neighbor(travelling, axes, pieces)
        of_rows, more = block(of_rows, *travelling)
        of_columns = _to_neighbor(jax.tree.map(jnp.add, of_columns, more), axes, pieces)
        return (of_rows, following, of_columns), None

    (of_rows, _, of_columns), _ = jax.lax.scan(pass_on, (zero(rows), own, zero(columns)), length=pieces)
    return of_rows, of_columns


@dataclasses.dataclass(frozen=True)
class _Reduction:
    """A reduction over pairs whose partial results can be combined in any order.

    Attributes:
      of: (scores, axis) -> partial result.
      combine: merges two partial results; `empty` is its identity.
      across: (partial results of all columns [B], axes, place, count) -> over all devices, of the own columns [b].
      slope: (scores, the complete reduction) -> its derivative with respect to each score.
    """

    of: Callable[[jax.Array, int], jax.Array]
    combine: Callable[[jax.Array, jax.Array], jax.Array]
    empty: float
    across: Callable[[jax.Array, tuple[str, ...], Any, int], jax.Array]
    slope: Callable[[jax.Array, jax.Array], jax.Array]


def _logsumexp_across(parts: jax.Array, axes: tuple[str, ...], place: Any, count: int) -> jax.Array:
    if not axes:
        return parts
    largest = jax.lax.pmax(parts, axes)  # [B]
    own = jax.lax.dynamic_slice(largest, (place * count,), (count,))
    return own + jnp.log(_sum_own(jnp.exp(parts - largest), axes))


_REDUCTIONS = {
    "logsumexp": _Reduction(
        lambda scores, axis: jax.nn.logsumexp(scores, axis=axis),
        jnp.logaddexp,
        -math.inf,
        _logsumexp_across,
        lambda scores, total: jnp.exp(scores - total),
    ),
    "softplus": _Reduction(
        lambda scores, axis: jax.nn.softplus(scores).sum(axis=axis),
        jnp.add,
        0.0,
        lambda parts, axes, place, count: _sum_own(parts, axes),
        lambda scores, total: jax.nn.sigmoid(scores),
    ),
}


def _place(axes: tuple[str, ...]) -> tuple[Any, int]:
    """Returns the index of this device among those that shard the batch, and their number."""
    return (jax.lax.axis_index(axes), jax.lax.axis_size(axes)) if axes else (0, 1)


def _chunks(arrays: Any, size: int) -> Any:
    """Splits [n, ...] -> [n/size, size, ...], padded with zeros, which masks mark as absent."""

    def cut(x: jax.Array) -> jax.Array:
        width = min(size, len(x))
        filled = jnp.pad(x, [(0, -len(x) % width)] + [(0, 0)] * (x.ndim - 1))
        return filled.reshape(-1, width, *x.shape[1:])

    return jax.tree.map(cut, arrays)


def _gather(arrays: Any, axes: tuple[str, ...]) -> Any:
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axes, tiled=True), arrays) if axes else arrays


def _sum_own(arrays: Any, axes: tuple[str, ...]) -> Any:
    """Sums the partial results [B, ...] of all devices -> the total of its own rows [b, ...]."""
    if not axes:
        return arrays
    return jax.tree.map(lambda x: jax.lax.psum_scatter(x, axes, scatter_dimension=0, tiled=True), arrays)


def _to_neighbor(arrays: Any, axes: tuple[str, ...], pieces: int) -> Any:
    ring = [(device, (device + 1) % pieces) for device in range(pieces)]
    return jax.tree.map(lambda x: jax.lax.ppermute(x, axes, ring), arrays)
