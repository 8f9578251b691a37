"""How large is each tower? One table; a config may override any number of it."""

import dataclasses

from svilm_jax.config import ConfigError, ModelConfig, TextConfig, VideoConfig, nearest


@dataclasses.dataclass(frozen=True)
class Size:
    """Depth, width and heads of a transformer."""

    layers: int
    width: int
    heads: int


# name: (video tower, text tower). The text tower of S-ViLM-B is BERT-base and stays so for L: captions are short.
VARIANTS: dict[str, tuple[Size, Size]] = {
    "Mini": (Size(4, 128, 2), Size(2, 128, 2)),  # what two CPU cores train in minutes
    "Ti": (Size(12, 192, 3), Size(12, 192, 3)),
    "S": (Size(12, 384, 6), Size(12, 384, 6)),
    "B": (Size(12, 768, 12), Size(12, 768, 12)),
    "L": (Size(24, 1024, 16), Size(12, 768, 12)),
}


def tower_sizes(config: ModelConfig) -> tuple[Size, Size]:
    """The sizes of the video and the text tower, a config's own numbers before the variant's.

    Raises:
      ConfigError: an unknown variant.
    """
    if config.variant not in VARIANTS:
        raise ConfigError(
            f"config.model.variant={config.variant!r}: expected one of {sorted(VARIANTS)}"
            f"{nearest(config.variant, VARIANTS)}"
        )
    video, text = VARIANTS[config.variant]
    return _override(video, config.video), _override(text, config.text)


def _override(size: Size, config: VideoConfig | TextConfig) -> Size:
    return Size(config.layers or size.layers, config.width or size.width, config.heads or size.heads)
