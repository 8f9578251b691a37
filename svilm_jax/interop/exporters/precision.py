"""Rounding error of reduced-precision parameters, measured on embeddings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from svilm_jax.inference import TrainedModel
from svilm_jax.inference.encoder import Encoder

_SAMPLES = 8


@dataclasses.dataclass(frozen=True)
class RoundingError:
    """Rounding error of clips and sentences together.

    Attributes:
      largest: largest absolute difference of two elements of an embedding.
      cosine: lowest cosine of an embedding and its rounded one.
    """

    largest: float
    cosine: float


def rounding_error(trained: TrainedModel, dtype: str, seed: int = 0) -> RoundingError:
    """Embeds random clips and token rows with the original parameters and with those rounded to `dtype`.

    Inputs are random, since a checkpoint has no data: coarse blocks of color, and words of the vocabulary.
    """
    graphdef, state = nnx.split(trained.model)
    rounded = jax.tree.map(lambda x: x.astype(jnp.dtype(dtype)).astype(x.dtype), state)
    rng, video = np.random.default_rng(seed), trained.config.model.video
    blocks = rng.integers(0, 256, (_SAMPLES, video.num_frames, 4, 4, 3), np.uint8)
    side = -(-video.image_size // 4)
    clips = blocks.repeat(side, 2).repeat(side, 3)[:, :, : video.image_size, : video.image_size]
    words = rng.integers(0, trained.tokenizer.vocab_size, (_SAMPLES, 6))
    texts = [trained.tokenizer.decode(row) for row in words]
    embedded = []
    for model in (trained.model, nnx.merge(graphdef, rounded)):
        encoder = Encoder(model, trained.config, trained.tokenizer, batch_size=_SAMPLES)
        seen = [reading["embedding"] for reading in encoder.videos(clips, ("embedding",))]
        embedded.append(np.concatenate([np.stack(seen), encoder.texts(texts)]))
    before, after = embedded
    return RoundingError(float(np.abs(after - before).max()), float((before * after).sum(axis=1).min()))
