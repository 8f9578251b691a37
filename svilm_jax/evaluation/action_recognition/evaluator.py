"""Action recognition evaluator: top-1 and top-5 of a fine-tuned head, mean over views (docs/method.md, 1.7)."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import CountOrZero, LocalPath, Range, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.action_recognition.labeled_clips import LabeledClips
from svilm_jax.evaluation.clips import EvaluationError, failed_fraction
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.evaluation.section import Section
from svilm_jax.inference.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class ActionOptions:
    """Options of action recognition.

    Attributes:
      dataset: folder of a prepared dataset; "": `config.input.dataset`.
      split: split or view of it, such as `test1`.
      limit: use the first N videos; 0: all.
      clips: temporal views per video; 4 in the protocol, 1 for a single view as in other evaluators.
      crops: spatial views per temporal view; 3 in the protocol.
      prefix: prefix of the metric names.
    """

    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "test"
    limit: Chosen[CountOrZero] = 0
    clips: Chosen[Annotated[int, Range(1, 1024)]] = 4
    crops: Chosen[Annotated[int, Range(1, 1024)]] = 3
    prefix: Chosen[Text] = "action"


class ActionRecognitionEvaluator:
    """Accuracy of the softmax probabilities averaged over views, on all labeled videos of the split."""

    SECTION = Section(
        "Action recognition",
        "Softmax probabilities averaged over views; a video that cannot be decoded counts as wrong. The majority "
        "baseline always predicts the most frequent label.",
        headline="top1",
    )

    def __init__(self, options: ActionOptions, config: Config):
        self.options, self._video, self._head = options, config.model.video, config.model.head
        if config.task != "action_recognition":
            raise ConfigError(
                f"evaluator action_recognition needs config.task='action_recognition', not {config.task!r}"
            )
        self._dataset = options.dataset or config.input.dataset
        # Read once, since reading a label means reading its record, including the video.
        self.labeled = LabeledClips(self._dataset, options.split, options.limit, self._video, self._head.classes)

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields `top1` with the baseline `majority` (the most frequent label), `top5`, and `failed_fraction`.

        A video that cannot be decoded counts as wrong.
        """
        labeled, options = self.labeled, self.options
        views = options.clips * options.crops
        targets = labeled.targets
        ranked = np.full((len(targets), 5), -1)

        decoded: list[int] = []

        def frames() -> Iterator[np.ndarray]:
            for item, views_of_item in labeled.views(options.clips, options.crops):
                decoded.append(item)
                yield from views_of_item

        scores = (reading["scores"] for reading in encoder.videos(frames(), ("scores",)))
        probabilities: list[np.ndarray] = []
        for score in scores:
            exponentials = np.exp(score - score.max())
            probabilities.append(exponentials / exponentials.sum())
            if len(probabilities) == views:
                best = np.argsort(-np.mean(probabilities, axis=0), kind="stable")[:5]
                ranked[decoded.pop(0), : len(best)] = best
                probabilities.clear()
        if (ranked[:, 0] < 0).all():
            raise EvaluationError(f"split {options.split!r}: no labeled video that can be decoded")
        majority = Counter(targets.tolist()).most_common(1)[0][1] / len(targets)
        for name, label, hits, baselines in (
            ("top1", "top-1 accuracy", ranked[:, 0] == targets, {"majority": majority}),
            ("top5", "top-5 accuracy", (ranked == targets[:, None]).any(axis=1), {}),
        ):
            yield Metric(f"{options.prefix}/{name}", float(np.mean(hits)), Unit.FRACTION, label, True, baselines)
        yield failed_fraction(options.prefix, labeled.failed / len(targets))
