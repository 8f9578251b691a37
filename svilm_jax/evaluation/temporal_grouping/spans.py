"""Readout of the foreground span of a spliced clip from its temporal features, and its accuracy.

The readout takes one vector z_j per temporal index and no mask. Among all half-open spans [s, e) that the splice can
draw (docs/method.md, 1.3: more than half of the tubelets, not all) it selects the one with the greatest separation

    mean over j of cos(z_j, center of j's own side) − cos(z_j, center of the other side).

The vectors are not centered over time first: these are the very cosines that the temporal grouping loss compares with
the mask, so the readout matches the training objective, and any other features, such as raw pixels, are read in the
same way. (On Gaussian clusters with drift, before any model was measured, centering made the readout worse in 13 of 18
settings and better in 2.)
`ward`, the between-sides sum of squares of the unit vectors, serves as a comparison: it weights the two sides by their
length, and so separates short sides from chance better.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from svilm_jax.input.splicing import legal_spans, span_mask

Readout = Literal["separation", "ward"]
READOUTS = get_args(Readout)
_EPSILON = 1e-12  # a vector of zeros has cosine 0 with everything


def separation(z: np.ndarray, mask: np.ndarray) -> float:
    """Returns the mean difference of the cosines to the own and the other side's center; z [Nt, D], mask bool [Nt]."""
    z = np.asarray(z, np.float64)
    foreground, background = z[mask].mean(axis=0), z[~mask].mean(axis=0)  # [D] each
    difference = _cosine(z, foreground) - _cosine(z, background)  # [Nt]
    return float(np.mean(np.where(mask, difference, -difference)))


def ward(z: np.ndarray, mask: np.ndarray) -> float:
    """n_f·n_b/(n_f+n_b) · |center_f − center_b|² of the unit vectors of z [Nt, D]."""
    z = _unit(np.asarray(z, np.float64))
    inside, outside = int(np.count_nonzero(mask)), int(np.count_nonzero(~mask))
    gap = z[mask].mean(axis=0) - z[~mask].mean(axis=0)  # [D]
    return float(inside * outside / (inside + outside) * np.sum(gap * gap))


def read_span(z: np.ndarray, readout: str = "separation") -> tuple[int, int]:
    """Returns the legal span that separates z float [Nt, D] best.

    Spans that tie (all vectors equal) are indistinguishable, and the last in the order of `legal_spans` is taken: a
    fixed choice that does not depend on the truth.

    Raises:
      ValueError: z that is not finite, too short, or an unknown readout.
    """
    if readout not in READOUTS:
        raise ValueError(f"span readout {readout!r}: expected one of {READOUTS}")
    if not np.isfinite(z).all():
        raise ValueError("the features of a clip are not finite: check the checkpoint")
    score = separation if readout == "separation" else ward
    scores = [score(z, span_mask(span, len(z))) for span in legal_spans(len(z))]
    best = max(scores)
    # Equal up to rounding: the last bits of a mean over more or fewer vectors must not decide.
    return legal_spans(len(z))[max(i for i, s in enumerate(scores) if s >= best - 1e-9)]


def tubelet_accuracy(predicted: tuple[int, int], true: tuple[int, int], length: int) -> float:
    """Returns the fraction of tubelets on the correct side."""
    return float(np.mean(span_mask(predicted, length) == span_mask(true, length)))


def chance_accuracy(true: tuple[int, int], length: int) -> float:
    """Returns the expected accuracy of a random legal span."""
    return float(np.mean([tubelet_accuracy(span, true, length) for span in legal_spans(length)]))


def all_foreground_accuracy(true: tuple[int, int], length: int) -> float:
    """Returns the accuracy of labeling every tubelet foreground."""
    return (true[1] - true[0]) / length


def constant_accuracy(truth: Sequence[tuple[int, int]], length: int, weights: Sequence[float] | None = None) -> float:
    """Returns the mean accuracy, weighted, of the one legal span that fits all the true ones best."""
    return max(
        float(np.average([tubelet_accuracy(span, true, length) for true in truth], weights=weights))
        for span in legal_spans(length)
    )


def _unit(z: np.ndarray) -> np.ndarray:
    return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), _EPSILON)


def _cosine(z: np.ndarray, center: np.ndarray) -> np.ndarray:
    return _unit(z) @ _unit(center)  # [Nt]
