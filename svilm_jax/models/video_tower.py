"""Video tower: joint space-time attention over tubelet tokens and group tokens."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Shaped

from svilm_jax.config import ConfigError, GroupingConfig, VideoConfig
from svilm_jax.models.grouping import GroupingBlock
from svilm_jax.models.patch_embedding import PatchEmbedding, token_grid
from svilm_jax.models.positions import grid_sinusoids, sinusoids
from svilm_jax.models.transformer import LayerNorm, TransformerStack
from svilm_jax.models.variants import Size
from svilm_jax.parallel import constrain, sequence_parts


class Stage(nnx.Module):
    """Several layers, followed by at most one grouping block."""

    def __init__(self, layers: TransformerStack, grouping: GroupingBlock | None):
        self.layers, self.grouping = layers, grouping


class VideoTower(nnx.Module):
    """Tubelets -> tokens and groups.

    Group tokens join the video tokens in every layer (`grouping.in_layers`) and are updated by a grouping block after
    each of `grouping.after_layers`. Position embeddings are the sum of a learned vector per temporal index and one per
    spatial position, or one vector per token, as in public video ViTs; both can be resampled for other lengths and
    sizes. They are initialized with sinusoids of about the magnitude of the patch embeddings, since a short training
    run would hardly learn positions from a magnitude of 0.02 [C].
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
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        bounds = (0, *grouping.after_layers)
        if list(bounds) != sorted(set(bounds)) or bounds[-1] > size.num_layers:
            raise ConfigError(
                f"config.model.grouping.after_layers={grouping.after_layers}: expected ascending numbers from 1 to the "
                f"{size.num_layers} layers of the video tower"
            )
        self.grid = token_grid(config)
        self.in_layers, self.dtype = grouping.in_layers, dtype
        width = size.hidden_size
        self.patch_embedding = PatchEmbedding(config, width, dtype=dtype, rngs=rngs)
        times, rows, columns = self.grid
        of_time, of_space = (
            config.position_scale * table for table in (sinusoids(times, width), grid_sinusoids(rows, columns, width))
        )
        self.joint = config.position_table == "joint"
        if self.joint:
            table = rearrange(of_time[:, None] + of_space[None], "nt ns d -> (nt ns) d")
            self.joint_position = nnx.Param(table, axes=(None, "embed"))
        else:
            self.time_position = nnx.Param(of_time, axes=(None, "embed"))
            self.space_position = nnx.Param(of_space, axes=(None, "embed"))
        # Unit variance: groups must differ at initialization, or hard assignment gives all tokens to one of them.
        groups = nnx.initializers.normal(1.0)(rngs.params(), (grouping.num_groups, width))
        self.group_tokens = nnx.Param(groups, axes=(None, "embed"))

        shared: dict[str, Any] = {
            "mlp_ratio": config.mlp_ratio,
            "activation": config.activation,
            "epsilon": config.norm_epsilon,
            "attention": attention,
            "dtype": dtype,
            "rngs": rngs,
        }

        def layers(count: int) -> TransformerStack:
            sizes: dict[str, Any] = {"width": width, "heads": size.num_heads, "axes": ("batch", "seq")}
            return TransformerStack(count, remat=remat, unroll=unroll, pre_norm=True, **sizes, **shared)

        stages = {
            f"stage{number}": Stage(
                layers(stop - start), GroupingBlock(width, size.num_heads, assignment=grouping.assignment, **shared)
            )
            for number, (start, stop) in enumerate(itertools.pairwise(bounds), start=1)
        }
        if bounds[-1] < size.num_layers:
            stages[f"stage{len(stages) + 1}"] = Stage(layers(size.num_layers - bounds[-1]), None)
        self.stages = nnx.Dict(stages)
        self.token_norm = LayerNorm(width, epsilon=config.norm_epsilon, rngs=rngs)
        self.group_norm = LayerNorm(width, epsilon=config.norm_epsilon, rngs=rngs)

    def __call__(
        self, video: Shaped[Array, "B T H W 3"], *, train: bool, rng: jax.Array | None = None
    ) -> tuple[Float[Array, "B Nt Ns D"], Float[Array, "B M D"], tuple[Float32[Array, "B M Nt h w"], ...]]:
        """Encodes clips.

        Args:
          video: uint8 [B, T, H, W, 3], or float in [0, 1].
          train: use straight-through and noisy assignments.
          rng: key for `gumbel` in training.

        Returns:
          tokens [B, Nt, Ns, D], groups [B, M, D], and the affinities of each grouping block, float32
          [B, M, Nt, H/p, W/p].
        """
        batch = video.shape[0]
        times, rows, _ = self.grid
        x = self.patch_embedding(video)  # [B, Nt, Ns, D]
        x = x + self._positions().astype(self.dtype)
        x = constrain(rearrange(x, "b nt ns d -> b (nt ns) d"), "batch", "seq", None)
        groups = jnp.broadcast_to(self.group_tokens[...].astype(self.dtype), (batch, *self.group_tokens.shape))

        affinities = []
        for number, stage in enumerate(self.stages.values()):
            if self.in_layers:
                x, groups = split_tokens(stage.layers(join_tokens(x, groups)), groups.shape[1])
            else:
                x = stage.layers(x)
            if stage.grouping is not None:
                key = None if rng is None else jax.random.fold_in(rng, number)
                groups, logits = stage.grouping(groups, x, train=train, rng=key)
                affinities.append(rearrange(logits, "b m (nt h w) -> b m nt h w", nt=times, h=rows))
        tokens = rearrange(self.token_norm(x), "b (nt ns) d -> b nt ns d", nt=times)
        return tokens, self.group_norm(groups), tuple(affinities)

    def _positions(self) -> Float32[Array, "Nt Ns D"]:
        """float32 [Nt, Ns, D]."""
        if self.joint:
            return rearrange(self.joint_position[...], "(nt ns) d -> nt ns d", nt=self.grid[0])
        return self.time_position[...][:, None] + self.space_position[...][None]


def join_tokens(tokens: Float[Array, "B N D"], groups: Float[Array, "B M D"]) -> Float[Array, "B N+M D"]:
    """Concatenates [B, N, D] and [B, M, D] -> [B, N+M, D], in an order that moves no data between devices.

    Where P devices shard the tokens of a clip, each has N/P of them and gets M/P of the groups: attention does not
    depend on the order. With P = 1 groups simply come last.

    Raises:
      ConfigError: tokens or groups are not divisible by the number of devices along `seq`.
    """
    parts = sequence_parts()
    for name, x in (("video tokens", tokens), ("group tokens", groups)):
        if x.shape[1] % parts:
            raise ConfigError(
                f"config.mesh.seq={parts}: does not divide the {x.shape[1]} {name} per clip; change it, or "
                "config.model.video and config.model.grouping.num_groups"
            )
    shards = [rearrange(x, "b (p n) d -> b p n d", p=parts) for x in (tokens, groups)]
    joined = rearrange(jnp.concatenate(shards, axis=2), "b p n d -> b (p n) d")
    return constrain(joined, "batch", "seq", None)


def split_tokens(
    joined: Float[Array, "B total D"], groups: int
) -> tuple[Float[Array, "B total-{groups} D"], Float[Array, "B {groups} D"]]:
    """Splits the result of `join_tokens` into tokens and `groups` group tokens, with groups on every device."""
    parts = sequence_parts()
    shards = rearrange(joined, "b (p n) d -> b p n d", p=parts)
    own = shards.shape[2] - groups // parts  # tokens per device
    tokens, group_tokens = (rearrange(x, "b p n d -> b (p n) d") for x in (shards[:, :, :own], shards[:, :, own:]))
    return constrain(tokens, "batch", "seq", None), constrain(group_tokens, "batch", None, None)
