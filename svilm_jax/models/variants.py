"""Table of tower sizes; a config may override each of them."""

import dataclasses

from svilm_jax.config import ConfigError, ModelConfig, TextConfig, VideoConfig


@dataclasses.dataclass(frozen=True)
class Size:
    """Depth, width and heads of a transformer."""

    num_layers: int
    hidden_size: int
    num_heads: int


# name: (video tower, text tower). The text tower of S-ViLM-B is BERT-base, also for L: captions are short.
VARIANTS: dict[str, tuple[Size, Size]] = {
    "Mini": (Size(4, 128, 2), Size(2, 128, 2)),  # trainable on two CPU cores in minutes
    "Ti": (Size(12, 192, 3), Size(12, 192, 3)),
    "S": (Size(12, 384, 6), Size(12, 384, 6)),
    "B": (Size(12, 768, 12), Size(12, 768, 12)),
    "L": (Size(24, 1024, 16), Size(12, 768, 12)),
}


def tower_sizes(config: ModelConfig) -> tuple[Size, Size]:
    """Returns the sizes of the video and the text tower; explicit config values override the variant's.

    Raises:
      ConfigError: a width that is not divisible by its heads, or an MLP without hidden units.
    """
    video, text = VARIANTS[config.variant]
    sizes = _override(video, config.video), _override(text, config.text)
    for name, size, of in (("video", sizes[0], config.video), ("text", sizes[1], config.text)):
        if size.hidden_size % size.num_heads:
            raise ConfigError(
                f"config.model.{name}.hidden_size={size.hidden_size}: expected a multiple of "
                f"config.model.{name}.num_heads={size.num_heads}"
            )
        if size.hidden_size * of.mlp_ratio < 1:
            raise ConfigError(
                f"config.model.{name}.mlp_ratio={of.mlp_ratio:g}: leaves no hidden units in the MLP; expected at least "
                f"{1 / size.hidden_size:g}"
            )
    return sizes


def _override(size: Size, config: VideoConfig | TextConfig) -> Size:
    return Size(
        config.num_layers or size.num_layers, config.hidden_size or size.hidden_size, config.num_heads or size.num_heads
    )
