"""Splicing (cut and paste) of clips on device, inside the train step (METHOD 1.3).

Partners are drawn within fixed blocks of rows. A block never spans two devices, so splicing moves no data between
devices, and the result does not depend on the mesh.
"""

import jax
import jax.numpy as jnp

from svilm_jax.config import ConfigError, SpliceConfig


def check_splice(config: SpliceConfig, times: int, batch: int, pieces: int) -> None:
    """Rejects configs that cannot be spliced.

    Args:
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
    if times // 2 + 1 > times - 1:
        raise ConfigError(
            f"config.splice: a clip of {times} temporal indices has no room for a dominant foreground and a "
            "background; at least 3 are needed (config.model.video.num_frames / tubelet)"
        )


def draw_spans(key: jax.Array, batch: int, times: int) -> jax.Array:
    """Draws foreground masks, bool [B, Nt]: d ~ U{⌊Nt/2⌋+1 … Nt−1}, start s ~ U{0 … Nt−d}, half-open [s, s+d)."""
    duration_key, start_key = jax.random.split(key)
    duration = jax.random.randint(duration_key, (batch,), times // 2 + 1, times)  # the upper end is exclusive
    start = jax.random.randint(start_key, (batch,), 0, times - duration + 1)
    index = jnp.arange(times)[None]  # [1, Nt]
    return (index >= start[:, None]) & (index < (start + duration)[:, None])


def draw_partners(key: jax.Array, batch: int, config: SpliceConfig) -> jax.Array:
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


def splice(
    key: jax.Array, video: jax.Array, valid: jax.Array, config: SpliceConfig, tubelet_frames: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Splices every clip, or a fraction of them: pastes a span of it over its partner.

    Args:
      video: [B, T, H, W, 3].
      valid: bool [B]; a row that is not valid, or whose partner is not, is unchanged.
      tubelet_frames: frames per temporal index, t; spans are aligned with tubelets.

    Returns:
      the spliced video, the mask bool [B, Nt] (True where the clip's own frames are), and bool [B], which rows were
      spliced.
    """
    batch, frames = video.shape[:2]
    times = frames // tubelet_frames
    span_key, partner_key, share_key = jax.random.split(key, 3)
    partner = draw_partners(partner_key, batch, config)

    def of_partner(x: jax.Array) -> jax.Array:
        blocks = x.reshape(-1, config.block, *x.shape[1:])  # [B/block, block, ...]
        return jax.vmap(lambda rows, places: rows[places])(blocks, partner).reshape(x.shape)

    spliced = valid & of_partner(valid) & jax.random.bernoulli(share_key, config.prob, (batch,))
    mask = draw_spans(span_key, batch, times) | ~spliced[:, None]  # [B, Nt]
    keep = jnp.repeat(mask, tubelet_frames, axis=1)[:, :, None, None, None]  # [B, T, 1, 1, 1]
    return jnp.where(keep, video, of_partner(video)), mask, spliced
