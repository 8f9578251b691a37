"""Linear probe: a linear classifier on frozen features, solved to its optimum (docs/method.md, 1.7).

Features are computed once and kept in memory; multinomial logistic regression with an L2 penalty is convex, so L-BFGS
finds its unique optimum in seconds where gradient descent over clips would take hours. The penalty is chosen on a
held-out part of the training items.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
import scipy.optimize

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import CountOrZero, LocalPath, NonEmpty, PositiveOrZero, Range, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.action_recognition.labeled_clips import LabeledClips
from svilm_jax.evaluation.clips import EvaluationError, failed_fraction
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.evaluation.section import Section
from svilm_jax.inference.encoder import FEATURES, Encoder
from svilm_jax.input.labels import read_classes
from svilm_jax.models.svilm import build_model

PENALTIES = tuple(10.0**power for power in range(-6, 2))
Views = Annotated[int, Range(1, 1024)]
HELD_OUT = 5  # every fifth item of each class is held out


@dataclasses.dataclass(frozen=True)
class ProbeOptions:
    """Options of the linear probe.

    Attributes:
      dataset: folder of a prepared dataset; "": `config.input.dataset`.
      train: training splits or views, such as ("train1", "train2").
      test: the test split or view of each training split.
      limit: use the first N videos of each; 0: all.
      train_clips: shifted clips per training video, each a separate item [C].
      clips: temporal views of a test video, whose probabilities are averaged.
      crops: spatial views per temporal view.
      pool: features of a clip: `clip`, the mean over its tokens; `time`, the concatenated means of its temporal
        indices, which distinguish a motion from its reverse.
      penalty: weight of the L2 penalty; 0: chosen on held-out items.
      random_baseline: also probe a randomly initialized tower of the same config.
      prefix: prefix of the metric names.
    """

    dataset: Chosen[LocalPath] = ""
    train: Chosen[Annotated[tuple[Text, ...], NonEmpty()]] = ("train",)
    test: Chosen[Annotated[tuple[Text, ...], NonEmpty()]] = ("test",)
    limit: Chosen[CountOrZero] = 0
    train_clips: Chosen[Views] = 1
    clips: Chosen[Views] = 4
    crops: Chosen[Views] = 3
    pool: Chosen[Literal["clip", "time"]] = "clip"
    penalty: Chosen[PositiveOrZero] = 0.0
    random_baseline: Chosen[bool] = True
    prefix: Chosen[Text] = "probe"


class LinearProbeEvaluator:
    """Top-1 accuracy of the probe for each pair of splits, and the mean; undecodable test videos count as wrong."""

    SECTION = Section(
        "Linear probe",
        "Multinomial logistic regression on frozen features. The random tower is an untrained model of the same "
        "config; the majority baseline always predicts the most frequent label.",
        headline="top1",
    )

    def __init__(self, options: ProbeOptions, config: Config):
        self.options, self._config = options, config
        if len(options.train) != len(options.test):
            pairs = f"{options.train} and {options.test}"
            raise ConfigError(f"linear_probe: expected equal numbers of train and test splits, got {pairs}")
        self._dataset = options.dataset or config.input.dataset
        self._classes = read_classes(self._dataset, "action_recognition")
        # Once each, for all probed towers: reading a label means reading its whole record, including the video.
        self._labeled = {
            split: LabeledClips(self._dataset, split, options.limit, config.model.video, self._classes)
            for split in dict.fromkeys((*options.train, *options.test))
        }

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields the accuracies, and how they came about.

        - `top1`: the mean over the pairs of splits, with the baselines `random_tower` (a randomly initialized one) and
          `majority` (the most frequent label); `top1_SPLIT` of each pair if there are several.
        - `penalty`: the last chosen one; `failed_fraction`: of the test videos.
        """
        options, towers = self.options, {"model": encoder}
        if options.random_baseline:
            random_model = build_model(self._config, encoder.tokenizer.vocab_size, self._config.train.seed + 1)
            towers["random_tower"] = Encoder(
                random_model, self._config, encoder.tokenizer, encoder.mesh, encoder.batch_size
            )
        top1: dict[str, float] = {}
        majority, failed, penalty = [], [], 0.0
        for name, tower in towers.items():
            accuracies = []
            for train, test in zip(options.train, options.test, strict=True):
                features, labels, _ = self._features(tower, train, options.train_clips, 1)
                views, targets, every = self._features(tower, test, options.clips, options.crops)
                items = features.reshape(-1, features.shape[-1])
                probe = fit(items, np.repeat(labels, features.shape[1]), options.penalty)
                hits = probe.probabilities(views).mean(axis=1).argmax(axis=1) == targets
                accuracies.append(float(hits.sum() / len(every)))
                if tower is encoder:
                    penalty = probe.penalty
                    majority.append(float(np.max(np.bincount(every)) / len(every)))
                    failed.append(1 - len(targets) / len(every))
                    if len(options.train) > 1:
                        label = f"top-1 accuracy, {test}"
                        yield Metric(f"{options.prefix}/top1_{test}", accuracies[-1], Unit.FRACTION, label, True)
            top1[name] = float(np.mean(accuracies))
        top1["majority"] = float(np.mean(majority))
        value = top1.pop("model")
        yield Metric(f"{options.prefix}/top1", value, Unit.FRACTION, "top-1 accuracy", True, baselines=top1)
        yield Metric(f"{options.prefix}/penalty", penalty, label="weight of the L2 penalty")
        yield failed_fraction(options.prefix, float(np.mean(failed)))

    def _features(
        self, encoder: Encoder, split: str, clips: int, crops: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns float32 [N, views, D] and labels int64 [N] of the decodable items; labels int64 [M] of all."""
        labeled = self._labeled[split]
        places: list[int] = []

        def frames() -> Iterator[np.ndarray]:
            for place, views in labeled.views(clips, crops):
                places.append(place)
                yield from views

        name = FEATURES[self.options.pool]
        rows = [reading[name] for reading in encoder.videos(frames(), (name,))]
        if not rows:
            raise EvaluationError(f"split {split!r}: no labeled video that can be decoded")
        return np.stack(rows).reshape(len(places), clips * crops, -1), labeled.targets[places], labeled.targets


@dataclasses.dataclass(frozen=True)
class Probe:
    """A fitted classifier.

    Attributes:
      mean: float64 [D], subtracted from the features.
      scale: float64 [D], by which the features are divided.
      weights: float64 [D, C].
      bias: float64 [C].
      classes: int64 [C], the labels that occur in training.
      penalty: weight of the L2 penalty.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    classes: np.ndarray
    penalty: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns class probabilities [..., largest label + 1] of features [..., D]; 0 for labels not in training."""
        logits = (features - self.mean) / self.scale @ self.weights + self.bias
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        out = np.zeros((*features.shape[:-1], int(self.classes.max()) + 1))
        out[..., self.classes] = exponentials / exponentials.sum(axis=-1, keepdims=True)
        return out


def fit(features: np.ndarray, labels: np.ndarray, penalty: float = 0.0) -> Probe:
    """Fits multinomial logistic regression with an L2 penalty on the weights, none on the bias.

    Minimizes mean(-log softmax(x W + b)[label]) + penalty / 2 · |W|² over standardized features x.

    Args:
      features: float [N, D].
      labels: int [N].
      penalty: 0: the one of `PENALTIES` with the best accuracy on a held-out fifth of each class.
    """
    features = np.asarray(features, np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = (features - mean) / scale
    classes, y = np.unique(labels, return_inverse=True)
    if not penalty:
        validation = _held_out(y)
        if validation.any() and len(np.unique(y[~validation])) == len(classes):
            scores = [
                _accuracy(*_solve(x[~validation], y[~validation], len(classes), p), x[validation], y[validation])
                for p in PENALTIES
            ]
            penalty = PENALTIES[int(len(scores) - 1 - np.argmax(scores[::-1]))]  # the largest of the best
        else:
            penalty = 1e-3
    weights, bias = _solve(x, y, len(classes), penalty)
    return Probe(mean, scale, weights, bias, classes, penalty)


def _solve(x: np.ndarray, y: np.ndarray, classes: int, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the optimum (W [D, C], b [C])."""
    count, width = x.shape
    one_hot = np.zeros((count, classes))
    one_hot[np.arange(count), y] = 1

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[: width * classes].reshape(width, classes), flat[width * classes :]
        logits = x @ weights + bias
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        error = (np.exp(log_p) - one_hot) / count  # [N, C]
        value = -(log_p * one_hot).sum() / count + penalty / 2 * (weights**2).sum()
        gradient = np.concatenate([(x.T @ error + penalty * weights).ravel(), error.sum(axis=0)])
        return float(value), gradient

    start = np.zeros((width + 1) * classes)
    result = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return result.x[: width * classes].reshape(width, classes), result.x[width * classes :]


def _accuracy(weights: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean((x @ weights + bias).argmax(axis=1) == y))


def _held_out(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns bool [N], True at every fifth item of each class, in their order."""
    counts: dict[int, int] = {}
    selected = []
    for label in np.asarray(labels).tolist():
        counts[label] = counts.get(label, 0) + 1
        selected.append(counts[label] % HELD_OUT == 0)
    return np.array(selected, bool)
