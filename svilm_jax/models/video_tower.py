"""What does the model see in a clip? Joint space-time attention over tubelets, with group tokens beside them."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from svilm_jax.config import ConfigError, GroupingConfig, VideoConfig
from svilm_jax.models.grouping import GroupingBlock
from svilm_jax.models.linear import Linear
from svilm_jax.models.transformer import LayerNorm, Layers
from svilm_jax.models.variants import Size
from svilm_jax.parallel import constrain

EPSILON = 1e-6  # of the layer norms, as in ViT

# Means and standard deviations of ImageNet's channels, on pixels in [0, 1]: what public video ViTs were trained with.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def token_grid(config: VideoConfig) -> tuple[int, int, int]:
    """Time indices, rows and columns of tokens: (Nt, H/p, W/p).

    Raises:
      ConfigError: frames or size do not divide by the tubelet.
    """
    t, ph, pw = config.tubelet
    if config.frames % t or config.size % ph or config.size % pw:
        raise ConfigError(
            f"config.model.video: {config.frames} frames of {config.size}x{config.size} do not divide into tubelets "
            f"of {t}x{ph}x{pw} (frames, height, width)"
        )
    return config.frames // t, config.size // ph, config.size // pw


def cut_tubelets(video: jax.Array, tubelet: tuple[int, int, int]) -> jax.Array:
    """[B, T, H, W, 3] -> [B, Nt, Ns, t*p*p*3]: the patch embedding is then one matrix product."""
    batch, frames, height, width, channels = video.shape
    t, ph, pw = tubelet
    x = video.reshape(batch, frames // t, t, height // ph, ph, width // pw, pw, channels)
    x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)  # [B, Nt, h, w, t, ph, pw, 3]
    return x.reshape(batch, frames // t, (height // ph) * (width // pw), t * ph * pw * channels)


class Stage(nnx.Module):
    """Some layers, then at most one grouping block."""

    def __init__(self, layers: Layers, grouping: GroupingBlock | None):
        self.layers, self.grouping = layers, grouping


class VideoTower(nnx.Module):
    """Tubelets -> tokens and groups.

    Group tokens join the video tokens in every layer (`grouping.in_layers`) and are updated by a grouping block after
    each of `grouping.after_layers`. Positions are a sum of a learned vector for the time index and one for the place,
    so that both can be resampled for other lengths and sizes; they start as sines and cosines, about as large as the
    patches they are added to, since a short training would hardly find a position of size 0.02 [C].
    """

    def __init__(
        self,
        config: VideoConfig,
        grouping: GroupingConfig,
        size: Size,
        *,
        attention: str,
        remat: str,
        unroll: int,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        bounds = (0, *grouping.after_layers)
        if list(bounds) != sorted(set(bounds)) or bounds[-1] > size.layers:
            raise ConfigError(
                f"config.model.grouping.after_layers={grouping.after_layers}: expected ascending numbers from 1 to the "
                f"{size.layers} layers of the video tower"
            )
        self.grid = token_grid(config)
        self.tubelet, self.in_layers, self.dtype = config.tubelet, grouping.in_layers, dtype
        width = size.width
        t, ph, pw = config.tubelet
        self.patch_embedding = Linear(t * ph * pw * 3, width, ("patch", "embed"), dtype=dtype, rngs=rngs)
        times, rows, columns = self.grid
        self.time_position = nnx.Param(sinusoids(times, width), axes=(None, "embed"))
        self.space_position = nnx.Param(grid_sinusoids(rows, columns, width), axes=(None, "embed"))
        # Unit-sized: groups have to differ at the start, or hard assignment gives everything to one of them.
        groups = nnx.initializers.normal(1.0)(rngs.params(), (grouping.num_groups, width))
        self.group_tokens = nnx.Param(groups, axes=(None, "embed"))

        shared: dict[str, Any] = {
            "mlp_ratio": config.mlp_ratio,
            "activation": config.activation,
            "epsilon": EPSILON,
            "attention": attention,
            "dtype": dtype,
            "rngs": rngs,
        }

        def layers(count: int) -> Layers:
            return Layers(count, remat=remat, unroll=unroll, width=width, heads=size.heads, pre_norm=True, **shared)

        stages = {
            f"stage{number}": Stage(
                layers(stop - start), GroupingBlock(width, size.heads, assignment=grouping.assignment, **shared)
            )
            for number, (start, stop) in enumerate(itertools.pairwise(bounds), start=1)
        }
        if bounds[-1] < size.layers:
            stages[f"stage{len(stages) + 1}"] = Stage(layers(size.layers - bounds[-1]), None)
        self.stages = nnx.Dict(stages)
        self.token_norm = LayerNorm(width, epsilon=EPSILON, rngs=rngs)
        self.group_norm = LayerNorm(width, epsilon=EPSILON, rngs=rngs)

    def __call__(
        self, video: jax.Array, *, train: bool, rng: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...]]:
        """Encodes clips.

        Args:
          video: uint8 [B, T, H, W, 3], or float in [0, 1].
          train: straight-through and noisy assignments.
          rng: key for `gumbel` in training.

        Returns:
          tokens [B, Nt, Ns, D], groups [B, M, D], and the affinities of each grouping block, float32
          [B, M, Nt, H/p, W/p].
        """
        batch = video.shape[0]
        times, rows, columns = self.grid
        # Tubelets are cut while pixels are still bytes: a quarter of the memory moves.
        tubelets = normalise_pixels(cut_tubelets(video, self.tubelet), self.dtype)  # [B, Nt, Ns, t*p*p*3]
        x = self.patch_embedding(tubelets)  # [B, Nt, Ns, D]
        positions = self.time_position[...][:, None] + self.space_position[...][None]  # [Nt, Ns, D]
        x = x + positions.astype(self.dtype)
        x = constrain(x.reshape(batch, times * rows * columns, -1), "batch", None, None)  # [B, N, D]
        groups = jnp.broadcast_to(self.group_tokens[...].astype(self.dtype), (batch, *self.group_tokens.shape))

        affinities = []
        for number, stage in enumerate(self.stages.values()):
            if self.in_layers:
                both = stage.layers(jnp.concatenate([x, groups], axis=1))  # [B, N+M, D]
                x, groups = both[:, : x.shape[1]], both[:, x.shape[1] :]
            else:
                x = stage.layers(x)
            if stage.grouping is not None:
                key = None if rng is None else jax.random.fold_in(rng, number)
                groups, logits = stage.grouping(groups, x, train=train, rng=key)
                affinities.append(logits.reshape(batch, -1, times, rows, columns))
        tokens = self.token_norm(x).reshape(batch, times, rows * columns, -1)
        return tokens, self.group_norm(groups), tuple(affinities)


def sinusoids(positions: int, width: int) -> jax.Array:
    """[positions, width]: sines and cosines of falling frequency (arXiv 1706.03762, section 3.5)."""
    frequencies = 100.0 ** -(jnp.arange(0, width, 2) / width)  # a hundred positions at most, not ten thousand
    angles = jnp.arange(positions)[:, None] * frequencies[None]  # [positions, width/2]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :width]


def grid_sinusoids(rows: int, columns: int, width: int) -> jax.Array:
    """[rows * columns, width]: one half of the width tells the row, the other the column."""
    half = width // 2
    down = jnp.repeat(sinusoids(rows, width - half), columns, axis=0)
    across = jnp.tile(sinusoids(columns, half), (rows, 1))
    return jnp.concatenate([down, across], axis=1)


def normalise_pixels(pixels: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """[..., n*3], channels last and fastest: uint8 [0, 255] or float [0, 1] -> zero mean, unit variance a channel."""
    scale = 255.0 if pixels.dtype == jnp.uint8 else 1.0
    repeats = pixels.shape[-1] // 3
    mean = jnp.tile(jnp.asarray(PIXEL_MEAN, jnp.float32), repeats)
    factor = jnp.tile(1 / jnp.asarray(PIXEL_STD, jnp.float32), repeats)
    return ((pixels.astype(jnp.float32) * (1 / scale) - mean) * factor).astype(dtype)
