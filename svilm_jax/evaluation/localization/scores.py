"""Localization scores of a submission file, against ActivityNet's annotations."""

from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.evaluation.localization.metrics import detection_average_precision
from svilm_jax.evaluation.localization.published_files import read_blocked, read_ground_truth, read_submission
from svilm_jax.evaluation.score_files import ScoreError


def score_localization(
    predictions: Path, ground_truth: Path, subset: str = "validation", blocked: Path | None = None
) -> dict[str, Any]:
    """Scores detections by the official definition of mean average precision.

    Args:
      predictions: a submission in the challenge's JSON format.
      ground_truth: ActivityNet's annotations, JSON.
      subset: subset of the ground truth.
      blocked: JSON list of ids of videos to leave out; None: all videos count.

    Returns:
      {"mAP": {tIoU threshold: ...}, "average_mAP": ...} in percent, and counts.

    Raises:
      ScoreError: a file that cannot be read, or detections in other videos only.
    """
    left_out = read_blocked(blocked) if blocked else frozenset()
    truth = read_ground_truth(ground_truth, subset, left_out)
    detections = read_submission(predictions, left_out)
    videos = set(truth.videos.tolist())
    predicted = set(detections.videos.tolist())
    if predicted and not predicted & videos:
        raise ScoreError(
            f"{predictions}: none of its {len(predicted)} videos is in subset {subset!r} of "
            f"{ground_truth}; the first is {str(detections.videos[0])!r}, there it is {str(truth.videos[0])!r}"
        )
    result = detection_average_precision(truth, detections)
    by_threshold = zip(result.thresholds, result.mean_average_precision, strict=True)
    return {
        "average_mAP": 100 * result.average,
        "mAP": {f"{threshold:.2f}": 100 * float(value) for threshold, value in by_threshold},
        "unit": "percent",
        "subset": subset,
        "segments": len(truth),
        "videos": len(videos),
        "classes": len(result.labels),
        "classes_without_prediction": result.without_predictions,
        "predictions": len(detections),
        "videos_without_prediction": len(videos - predicted),
        "predictions_in_other_videos": int(np.isin(detections.videos, list(videos), invert=True).sum()),
        "predictions_of_unknown_label": sum(result.unknown_labels.values()),
        "predictions_of_tied_score": result.tied_scores,
    }
