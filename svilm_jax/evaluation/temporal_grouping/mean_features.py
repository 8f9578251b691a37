"""Mean features per temporal index over training clips, which a readout may subtract first.

A model trained with `temporal_grouping.centered` receives no gradient through this common component of its tokens. The
means come from training clips and not from the evaluated clips, so that the readout also applies to a single clip.
"""

from collections.abc import Iterator

import numpy as np

from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError
from svilm_jax.evaluation.temporal_grouping import raw_pixels
from svilm_jax.inference.encoder import Encoder


def mean_features(encoder: Encoder, dataset: str, split: str, count: int) -> dict[str, np.ndarray]:
    """Computes the mean of the model's `time_tokens` and of each pixel feature over the first clips of a split.

    Args:
      encoder: encoder of the model.
      dataset: folder of a prepared dataset.
      split: split or view of it.
      count: number of clips.

    Returns:
      "model" float32 [Nt, D], and for each of `raw_pixels.FEATURES` its float64 [Nt, d].

    Raises:
      EvaluationError: none of the clips can be decoded.
    """
    video = encoder.config.model.video
    clips = EvaluationClips(dataset, split, count, video)
    pixels: list[dict[str, np.ndarray]] = []

    def frames() -> Iterator[np.ndarray]:
        for _, clip in clips.read(clips.numbers):
            pixels.append(
                {name: read(clip.frames, video.tubelet_size[0]) for name, read in raw_pixels.FEATURES.items()}
            )
            yield clip.frames

    tokens = [reading["time_tokens"] for reading in encoder.videos(frames(), ("time_tokens",))]
    if not tokens:
        raise EvaluationError(f"split {split!r}: none of the first {count} clips can be decoded")
    means = {name: np.mean([row[name] for row in pixels], axis=0) for name in raw_pixels.FEATURES}
    return {"model": np.mean(tokens, axis=0), **means}
