"""Reproducible splices of evaluation clips for the temporal grouping evaluator (METHOD 1.3)."""

import dataclasses

import numpy as np

from svilm_jax.evaluation.temporal_grouping.spans import legal_spans


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


def draw_span(index: int, tubelets: int, seed: int) -> tuple[int, int]:
    """Draws the span of splice number `index`: first its duration, then its start, both uniform, as in training.

    It depends on the seed and the index only, so every checkpoint is evaluated on the same splices.
    """
    legal_spans(tubelets)  # rejects clips that are too short to be spliced
    rng = np.random.default_rng([seed, index])
    duration = int(rng.integers(tubelets // 2 + 1, tubelets))
    start = int(rng.integers(0, tubelets - duration + 1))
    return start, start + duration


def weighted_spans(tubelets: int) -> list[tuple[tuple[int, int], float]]:
    """Returns every legal span with its probability under `draw_span`; the probabilities sum to one."""
    spans = legal_spans(tubelets)
    starts = {end - start: tubelets - (end - start) + 1 for start, end in spans}  # duration -> number of starts
    return [((s, e), 1 / len(starts) / starts[e - s]) for s, e in spans]


def splice(
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
    frames = background.copy()
    window = slice(span[0] * per_tubelet, span[1] * per_tubelet)
    frames[window] = foreground[window]
    return Splice(frames, span, len(frames) // per_tubelet, weight)
