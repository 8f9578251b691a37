"""Retrieval scores of a file of similarities, for comparison with other implementations."""

from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.evaluation.retrieval.dual_softmax import dual_softmax
from svilm_jax.evaluation.retrieval.metrics import RANKS, chance_metrics, pessimistic_ranks, recall_metrics
from svilm_jax.evaluation.score_files import ScoreError, read_array, read_json, rows


def score_retrieval(
    predictions: Path, ground_truth: Path | None = None, temperature: float | None = None
) -> dict[str, Any]:
    """Scores a similarity matrix in both directions.

    Args:
      predictions: .npy file of similarities, float [captions, videos].
      ground_truth: the video of each caption: .npy file of int [captions] or bool [captions, videos], or a JSON list of
        indices or of lists of indices; None: the diagonal of a square matrix.
      temperature: also score the similarities reranked by dual softmax with this temperature, which uses all queries
        of the test set at once; None: do not.

    Returns:
      {"t2v": ..., "v2t": ...}: recalls and chance levels in percent, ranks from 1, and numbers of queries and items;
      with a temperature also {"transductive_dual_softmax": ...}.

    Raises:
      ScoreError: a file that cannot be read, or files that do not fit each other.
    """
    similarity = read_array(predictions)
    if similarity.ndim != 2 or similarity.dtype.kind not in "fiu" or not similarity.size:
        raise ScoreError(
            f"{predictions}: expected numbers [captions, videos], found {similarity.dtype} "
            f"[{', '.join(map(str, similarity.shape))}]"
        )
    if similarity.dtype.kind != "f" or similarity.dtype.itemsize < 4:
        similarity = similarity.astype(np.float64)  # every smaller kind of number fits; no new ties, no overflow
    if not np.isfinite(similarity).all():
        raise ScoreError(f"{predictions}: similarities that are NaN or infinite")
    positives = _positives(ground_truth, similarity.shape, predictions)
    found: dict[str, Any] = {"recall": "percent", **_both_directions(similarity, similarity.T, positives)}
    for direction, correct in (("t2v", positives), ("v2t", _with_correct_item(positives.T))):
        found[direction]["chance"] = _in_percent(chance_metrics(correct))
    if temperature is not None:
        try:
            t2v, v2t = (dual_softmax(side, temperature) for side in (similarity, similarity.T))
        except ValueError as error:
            raise ScoreError(f"dual softmax: {error}") from error
        found["transductive_dual_softmax"] = {
            "temperature": temperature,
            **_both_directions(t2v, v2t, positives),
        }
    return found


def _positives(path: Path | None, shape: tuple[int, int], predictions: Path) -> np.ndarray:
    """Reads bool [captions, videos] from a ground-truth file, or returns the diagonal."""
    queries, items = shape
    if path is None:
        if queries != items:
            raise ScoreError(
                f"{predictions}: {queries} captions and {items} videos: not a square matrix; give --ground-truth"
            )
        return np.eye(queries, dtype=bool)
    given = read_array(path) if path.suffix == ".npy" else rows(read_json(path), f"{path}")
    if isinstance(given, np.ndarray) and given.dtype == bool:
        if given.shape != shape:
            raise ScoreError(f"{path}: {list(given.shape)}, but the similarities are {list(shape)}")
        positives = given
    else:
        if isinstance(given, np.ndarray) and (given.dtype.kind not in "iu" or given.ndim != 1):
            raise ScoreError(f"{path}: expected int [captions] or bool [captions, videos], found {given.dtype}")
        if len(given) != queries:
            raise ScoreError(f"{path}: {len(given)} entries, but {predictions} has {queries} captions")
        positives = np.zeros(shape, bool)
        for query, entry in enumerate(given.tolist() if isinstance(given, np.ndarray) else given):
            for item in entry if isinstance(entry, list) else [entry]:
                # A bool is an int to Python; in a list of lists it would be taken for index 0 or 1.
                if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < items:
                    raise ScoreError(f"{path}: entry {query}: expected indices from 0 to {items - 1}, found {item!r}")
                positives[query, item] = True
    orphans = np.flatnonzero(~positives.any(axis=1))
    if len(orphans):
        raise ScoreError(f"{path}: {len(orphans)} captions have no video, the first is {orphans[0]}")
    return positives


def _both_directions(text_to_video: np.ndarray, video_to_text: np.ndarray, positives: np.ndarray) -> dict[str, Any]:
    has_caption = positives.any(axis=0)
    found = {}
    for direction, side, correct in (
        ("t2v", text_to_video, positives),
        ("v2t", video_to_text[has_caption], _with_correct_item(positives.T)),
    ):
        metrics = _in_percent(recall_metrics(pessimistic_ranks(side, correct)))
        found[direction] = {**metrics, "queries": side.shape[0], "items": side.shape[1]}
    return found


def _with_correct_item(positives: np.ndarray) -> np.ndarray:
    """Returns the rows with a correct item: a video without a caption is not a query."""
    return positives[positives.any(axis=1)]


def _in_percent(metrics: dict[str, float]) -> dict[str, float]:
    """Converts the recalls; ranks are kept."""
    return {name: value if name in RANKS else 100 * value for name, value in metrics.items()}
