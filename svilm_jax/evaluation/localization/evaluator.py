"""Temporal action localization evaluator: proposals of a localizer, their classes, and the official mAP.

docs/method.md, 1.7: the class of a proposal is that of an external video classifier (its top two classes), or of the
localizer's own classification branch; scores are decayed by soft-NMS; the top 100 detections per video count.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import Count, LocalPath, Positive, Text
from svilm_jax.config.grades import Chosen, Stated
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.localization.metrics import THRESHOLDS, Segments, detection_average_precision
from svilm_jax.evaluation.localization.proposals import classify, propose
from svilm_jax.evaluation.localization.published_files import write_submission
from svilm_jax.evaluation.localization.soft_nms import TOP_K, soft_nms
from svilm_jax.evaluation.localization.video_classes import read_video_classes
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.features import VideoFeatures, read_index, resized

BATCH = 16
Proposal = tuple[str, float, tuple[float, float]]  # label, score, start and end in seconds


@dataclasses.dataclass(frozen=True)
class LocalizationOptions:
    """Options of temporal action localization.

    Attributes:
      features: folder that `svilm extract-features` wrote for the split to evaluate.
      classifier: file of an external classifier's scores (`video_classes`); "": the localizer's own classification
        branch.
      top: number of classes per proposal.
      sigma: decay width of soft-NMS.
      boundaries: whether the score of a proposal includes the probabilities of its start and end, see `propose`.
      predictions: output file of the proposals in ActivityNet's format, for `svilm score localization`; "": none.
      prefix: prefix of the metric names.
    """

    features: Chosen[LocalPath] = ""
    classifier: Chosen[LocalPath] = ""
    top: Stated[Count] = 2
    sigma: Stated[Positive] = 0.8
    boundaries: Stated[bool] = False
    predictions: Chosen[LocalPath] = ""
    prefix: Chosen[Text] = "localization"


class LocalizationEvaluator:
    """Mean average precision at tIoU 0.5, 0.75 and 0.95, and the mean over 0.5:0.05:0.95."""

    def __init__(self, options: LocalizationOptions, config: Config):
        self.options, self._steps, self._classes = (
            options,
            config.model.localization.num_steps,
            config.model.head.classes,
        )
        if config.task != "localization":
            raise ConfigError(f"evaluator localization needs config.task='localization', which is {config.task!r}")
        self._index = read_index(options.features)
        if self._index.width != config.model.localization.feature_dim:
            raise ConfigError(
                f"evaluator localization: features of width {self._index.width} in {options.features}, the model takes "
                f"{config.model.localization.feature_dim}: embed both splits by the same checkpoint"
            )
        self._named = read_video_classes(options.classifier, options.top) if options.classifier else None
        if self._named is None and not config.model.localization.classify:
            raise ConfigError("evaluator localization: name a classifier, or set config.model.localization.classify")

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields the precisions, and how complete the classifier's scores are.

        - `mAP_50`, `mAP_75`, `mAP_95`: at these overlaps; `mAP`: the mean over 0.5, 0.55, ..., 0.95.
        - `unknown_to_classifier_fraction`: fraction of videos without external scores, where they are used.
        """
        options, index, folder = self.options, self._index, Path(self.options.features)
        results: dict[str, list[Proposal]] = {}
        unknown = 0
        for start in range(0, len(index.videos), BATCH):
            videos = index.videos[start : start + BATCH]
            rows = np.stack([resized(folder, index, video, self._steps) for video in videos])
            filled = np.concatenate([rows, np.zeros((BATCH - len(rows), *rows.shape[1:]), rows.dtype)])
            outputs = encoder.call(_localize, filled)
            for row, video in enumerate(videos):
                maps = (outputs.start[row], outputs.end[row], outputs.scores[row])
                proposals = propose(*maps, video.duration, outputs.valid[row], options.boundaries)
                if self._named is not None and video.id.removeprefix("v_") not in self._named:
                    unknown += 1
                logits = None if outputs.classes is None else outputs.classes[row]
                results[video.id] = self._named_proposals(proposals, logits, video)
        if options.predictions:
            write_submission(options.predictions, results)
        truth = _truth(index.videos)
        if not len(truth):
            raise EvaluationError(f"{options.features}: no video with a labeled segment")
        every = [(name, *proposal) for name, found in results.items() for proposal in found]
        predicted = Segments.of(
            [name for name, _, _, _ in every],
            [label for _, label, _, _ in every],
            [times for _, _, _, times in every],
            [score for _, _, score, _ in every],
        )
        precision = detection_average_precision(truth, predicted, THRESHOLDS).mean_average_precision
        prefix = options.prefix
        for threshold, value in zip(THRESHOLDS, precision, strict=True):
            if round(float(threshold), 2) in (0.5, 0.75, 0.95):
                label = f"mean average precision at tIoU {threshold:.2f}"
                yield Metric(f"{prefix}/mAP_{round(100 * threshold)}", float(value), Unit.FRACTION, label, True)
        label = "mean average precision, mean over tIoU 0.5 to 0.95"
        yield Metric(f"{prefix}/mAP", float(np.mean(precision)), Unit.FRACTION, label, True)
        if self._named is not None:
            name, label = f"{prefix}/unknown_to_classifier_fraction", "videos without scores of the classifier"
            yield Metric(name, unknown / len(index.videos), Unit.FRACTION, label, False)

    def _named_proposals(
        self, proposals: np.ndarray, logits: np.ndarray | None, video: VideoFeatures
    ) -> list[Proposal]:
        """Returns the best proposals of a video after soft-NMS, each with its classes."""
        options = self.options
        if not len(proposals):
            return []
        kept, scores = soft_nms(proposals[:, :2], proposals[:, 2], options.sigma, unit=video.duration, top_k=TOP_K)
        segments = proposals[kept, :2]
        if self._named is not None:
            named = self._named.get(video.id.removeprefix("v_"), [])
            given = [[(label, weight) for label, weight in named]] * len(segments)
        else:
            assert logits is not None
            probabilities = classify(segments, logits, video.duration)[:, :-1]  # [N, C], the rest to 1 is background
            best = np.argsort(-probabilities, axis=1, kind="stable")[:, : options.top]
            given = [[(self._classes[c], float(probabilities[n, c])) for c in best[n]] for n in range(len(segments))]
        return [
            (label, float(score) * weight, (float(start), float(end)))
            for (start, end), score, classes in zip(segments, scores, given, strict=True)
            for label, weight in classes
        ]


def _localize(model: Any, features: Any) -> Any:
    return model(features)


def _truth(videos: tuple[VideoFeatures, ...]) -> Segments:
    rows = [
        (video.id, action.label, (0.0, video.duration) if action.start < 0 else (action.start, action.end))
        for video in videos
        for action in video.actions
    ]
    return Segments.of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
