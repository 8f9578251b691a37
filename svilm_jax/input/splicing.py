"""Splicing (cut and paste) of clips, for training on device and for evaluation on the host (docs/method.md, 1.3).

A span of more than half of a clip's temporal indices, but not all of them, is kept as the foreground; the rest is
replaced by the frames of another clip at the same times. Both uses share the spans and the pasting. Training draws with
JAX inside the train step, from partners within fixed blocks of rows: a block never spans two devices, so splicing moves
no data between devices, and the result does not depend on the mesh. Evaluation draws with NumPy from the number of a
splice, so that every checkpoint is evaluated on the same splices.
"""

import dataclasses
import math
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Bool, Int, Shaped

from svilm_jax.config import ConfigError, SpliceConfig

_LARGEST_BLOCK = 8  # of a block that is fitted to the rows of a device
Frames = TypeVar("Frames", np.ndarray, jax.Array)


def duration_range(times: int) -> tuple[int, int]:
    """Returns the shortest duration of a foreground, and one more than the longest: half-open, as `range` takes it.

    Args:
      times: temporal indices of a clip, Nt.

    Raises:
      ValueError: fewer than three indices, for which there is no such duration.
    """
    if times < 3:
        raise ValueError(f"{times} temporal indices per clip, splicing needs at least 3")
    return times // 2 + 1, times


def legal_spans(length: int) -> list[tuple[int, int]]:
    """Returns all [s, e) of more than half and less than all of `length` tubelets, ordered by start, then end.

    Raises:
      ValueError: fewer than three tubelets, for which no such span exists.
    """
    durations = range(*duration_range(length))
    return [(s, s + d) for s in range(length) for d in durations if s + d <= length]


def span_mask(span: tuple[int, int], length: int) -> np.ndarray:
    """Returns bool [length], True inside [s, e)."""
    return (np.arange(length) >= span[0]) & (np.arange(length) < span[1])


def paste(foreground: Frames, background: Frames, mask: Frames, tubelet_frames: int) -> Frames:
    """Returns the foreground's frames where the mask is True, and the background's at the same times elsewhere.

    Args:
      foreground: [..., T, H, W, 3], of NumPy or of JAX, as are the other two.
      background: of the same shape.
      mask: bool [..., Nt].
      tubelet_frames: frames per temporal index, t; T = Nt · t.
    """
    keep = mask.repeat(tubelet_frames, axis=-1)[..., None, None, None]  # [..., T, 1, 1, 1]
    where = jnp.where if isinstance(mask, jax.Array) else np.where
    return where(keep, foreground, background)


def fitted_block(config: SpliceConfig, batch: int, pieces: int) -> SpliceConfig:
    """Returns the config with its block: if it is 0, the largest divisor of the rows of a device up to 8.

    Args:
      config: of the splices.
      batch: rows of the global batch.
      pieces: number of devices that shard the batch.
    """
    rows = batch // pieces
    if config.block or batch % pieces:
        return config
    return dataclasses.replace(config, block=max(size for size in range(1, _LARGEST_BLOCK + 1) if rows % size == 0))


def check_splice(config: SpliceConfig, times: int, batch: int, pieces: int) -> None:
    """Rejects configs that cannot be spliced.

    Args:
      config: number of rows that exchange backgrounds, fitted, and how partners are drawn.
      times: temporal indices of a clip, Nt.
      batch: rows of the global batch.
      pieces: number of devices that shard the batch.

    Raises:
      ConfigError: naming the key.
    """
    if config.block < 2 or batch % pieces or (batch // pieces) % config.block:
        raise ConfigError(
            f"config.splice.block={config.block}: expected at least 2 and a divisor of the rows of one device, "
            f"{batch} / {pieces} = {batch / pieces:g}: change it or config.train.batch_size"
        )
    try:
        duration_range(times)
    except ValueError as error:
        raise ConfigError(
            f"config.splice: {error} for a dominant foreground and a background "
            "(config.model.video.num_frames / tubelet)"
        ) from error


def draw_spans(key: jax.Array, batch: int, times: int) -> Bool[Array, "{batch} {times}"]:
    """Draws foreground masks, bool [B, Nt]: d ~ U{⌊Nt/2⌋+1 … Nt−1}, start s ~ U{0 … Nt−d}, half-open [s, s+d)."""
    duration_key, start_key = jax.random.split(key)
    duration = jax.random.randint(duration_key, (batch,), *duration_range(times))
    start = jax.random.randint(start_key, (batch,), 0, times - duration + 1)
    index = jnp.arange(times)[None]  # [1, Nt]
    return (index >= start[:, None]) & (index < (start + duration)[:, None])


def draw_partners(key: jax.Array, batch: int, config: SpliceConfig) -> Int[Array, "blocks block"]:
    """Draws the background row of every row, int32 [B/block, block], as indices inside its block; never itself."""
    blocks, size = batch // config.block, config.block
    place = jnp.arange(size)
    if config.partner == "roll":
        return jnp.broadcast_to((place - 1) % size, (blocks, size))

    def derange(key: jax.Array) -> jax.Array:
        # Each row's successor in a random cycle through the block, so that no row is its own partner.
        trip = jax.random.permutation(key, size)
        return jnp.zeros(size, trip.dtype).at[trip].set(jnp.roll(trip, -1))

    return jax.vmap(derange)(jax.random.split(key, blocks))


class SplicedBatch(NamedTuple):
    """A training batch after splicing.

    Attributes:
      video: [B, T, H, W, 3].
      mask: bool [B, Nt], True where the clip's own frames are; all of a row that stays whole.
      spliced: bool [B], the rows that were spliced.
      span: bool [B, Nt], the span that was drawn, also for rows that stay whole. Such a row is the clip pasted into
        itself: what tells its span from the rest is the temporal index alone.
    """

    video: Shaped[Array, "B T H W 3"]
    mask: Bool[Array, "B Nt"]
    spliced: Bool[Array, " B"]
    span: Bool[Array, "B Nt"]


def splice_batch(
    key: jax.Array,
    video: Shaped[Array, "B T H W 3"],
    valid: Bool[Array, " B"],
    config: SpliceConfig,
    tubelet_frames: int,
) -> SplicedBatch:
    """Splices the clips of a training batch: pastes a span of each over its partner, except for those that stay whole.

    Args:
      key: random key of the step.
      video: [B, T, H, W, 3].
      valid: bool [B]; a row that is not valid, or whose partner is not, is unchanged.
      config: fraction of the rows, and how partners are drawn.
      tubelet_frames: frames per temporal index, t; spans are aligned with tubelets.
    """
    batch, frames = video.shape[:2]
    times = frames // tubelet_frames
    span_key, partner_key, fraction_key = jax.random.split(key, 3)
    partner = draw_partners(partner_key, batch, config)

    def of_partner(x: jax.Array) -> jax.Array:
        blocks = rearrange(x, "(blocks block) ... -> blocks block ...", block=config.block)
        moved = jax.vmap(lambda rows, places: rows[places])(blocks, partner)
        return rearrange(moved, "blocks block ... -> (blocks block) ...")

    chosen = jax.random.bernoulli(fraction_key, config.prob, (batch,)) & ~_kept_whole(fraction_key, batch, config)
    spliced = valid & of_partner(valid) & chosen
    span = draw_spans(span_key, batch, times)
    mask = span | ~spliced[:, None]  # [B, Nt]
    return SplicedBatch(paste(video, of_partner(video), mask, tubelet_frames), mask, spliced, span)


def _kept_whole(key: jax.Array, batch: int, config: SpliceConfig) -> Bool[Array, " B"]:
    """Draws the rows that stay whole even if all clips are to be spliced, evenly spread, bool [B]; often none."""
    missing = max(0.0, config.min_whole_fraction - (1 - config.prob))
    count = math.ceil(missing * batch - 1e-6)
    if not count:
        return jnp.zeros(batch, bool)
    offset = jax.random.uniform(jax.random.fold_in(key, 1))
    rows = jnp.floor((jnp.arange(count) + offset) * (batch / count)).astype(jnp.int32)
    return jnp.zeros(batch, bool).at[rows].set(True)


@dataclasses.dataclass(frozen=True)
class Splice:
    """A spliced clip.

    Attributes:
      frames: uint8 [T, H, W, 3].
      span: half-open [s, e) of foreground tubelets; the rest is background.
      tubelets: temporal indices of the clip, Nt.
      weight: weight in a mean: the probability of its span, if all spans are evaluated; else 1.
    """

    frames: np.ndarray
    span: tuple[int, int]
    tubelets: int
    weight: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the clip is pasted into itself, with a span of all tubelets."""
        return self.span == (0, self.tubelets)


def draw_span(index: int, tubelets: int, seed: int) -> tuple[int, int]:
    """Draws the span of splice number `index`: first its duration, then its start, both uniform, as in training.

    It depends on the seed and the index only, so every checkpoint is evaluated on the same splices.
    """
    rng = np.random.default_rng([seed, index])
    duration = int(rng.integers(*duration_range(tubelets)))
    start = int(rng.integers(0, tubelets - duration + 1))
    return start, start + duration


def weighted_spans(tubelets: int) -> list[tuple[tuple[int, int], float]]:
    """Returns every legal span with its probability under `draw_span`; the probabilities sum to one."""
    spans = legal_spans(tubelets)
    starts = {end - start: tubelets - (end - start) + 1 for start, end in spans}  # duration -> number of starts
    return [((s, e), 1 / len(starts) / starts[e - s]) for s, e in spans]


def splice_pair(
    foreground: np.ndarray, background: np.ndarray, span: tuple[int, int], per_tubelet: int, weight: float = 1.0
) -> Splice:
    """Returns the background's frames with those of tubelets [s, e) replaced by the foreground's at the same times.

    Args:
      foreground: uint8 [T, H, W, 3], the pasted clip.
      background: uint8 [T, H, W, 3], the clip it is pasted over.
      span: foreground span [s, e) in tubelets.
      per_tubelet: frames per tubelet; T must be a multiple, so that no tubelet is split.
      weight: see `Splice`.
    """
    if foreground.shape != background.shape or len(foreground) % per_tubelet:
        raise ValueError(
            f"cannot splice {foreground.shape} into {background.shape}: expected equal shapes and a number of frames "
            f"that is a multiple of {per_tubelet}"
        )
    tubelets = len(foreground) // per_tubelet
    return Splice(paste(foreground, background, span_mask(span, tubelets), per_tubelet), span, tubelets, weight)
