"""Temporal grouping evaluator: recovers the pasted span of spliced clips from video tokens.

Every clip is spliced with its twin (same background, same colors, different shapes and motions), and the twin with the
clip. The mask is hidden, and one span is read from the spatial means of the tokens (`spans`: the same readout for the
model and for raw pixels). With `partners="next"` the partner is the next clip of the split: an ordinary cut, which
pixel colors reveal, and the only option for data without twins.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np

from svilm_jax.config import Config
from svilm_jax.config.constraints import CountOrZero, LocalPath, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.evaluation.temporal_grouping import raw_pixels, report_section, spans
from svilm_jax.evaluation.temporal_grouping.mean_features import mean_features
from svilm_jax.evaluation.temporal_grouping.spans import Readout
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.splicing import Splice, draw_span, legal_spans, splice_pair, weighted_spans


@dataclasses.dataclass(frozen=True)
class GroupingOptions:
    """Options of the temporal grouping evaluator.

    Attributes:
      dataset: folder of a prepared dataset; "": `config.input.dataset`.
      split: split or view of it.
      limit: use the first N clips; 0: all.
      partners: twin (clips that share `Record.group`) or next (metrics get the suffix `_ordinary`).
      spans: drawn, one for each splice, or all legal ones, weighted by their probability under the draw: the same
        expectation without sampling noise, at many times the cost for clips of many temporal indices.
      readout: separation (official) or ward.
      common_clips: number of training clips whose mean per temporal index is subtracted first; 0: no subtraction.
        Pixels are read both ways, and the better result counts.
      seed: random seed of the spans.
      prefix: prefix of the metric names.
    """

    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "twins_test"
    limit: Chosen[CountOrZero] = 0
    partners: Chosen[Literal["twin", "next"]] = "twin"
    spans: Chosen[Literal["drawn", "all"]] = "drawn"
    readout: Chosen[Readout] = "separation"
    common_clips: Chosen[CountOrZero] = 0
    seed: Chosen[CountOrZero] = 0
    prefix: Chosen[Text] = "grouping"


def spliced_clips(
    clips: EvaluationClips,
    partners: str,
    seed: int,
    per_tubelet: int,
    every_span: bool = False,
    with_whole: bool = False,
) -> Iterator[Splice]:
    """Yields splices in the order of the split; both clips of a pair must be decodable.

    With `with_whole`, the splices of a clip follow the clip pasted into itself, with a span of all tubelets. The spans
    are drawn by the number of the splice in the split, so an undecodable clip changes no other; with `every_span` each
    clip is spliced with every legal span in turn, weighted.
    """
    if partners == "twin":
        pairs = [members[:2] for members in clips.groups().values() if len(members) > 1]
    else:
        pairs = [clips.numbers[i : i + 2] for i in range(0, len(clips.numbers) - 1, 2)]
    if not pairs:
        raise EvaluationError(f"split {clips.split!r}: no two clips to splice (partners={partners!r})")
    waiting: dict[int, np.ndarray] = {}
    order = [number for pair in pairs for number in pair]
    for position, clip in clips.read(order):
        number, place = order[position], position // 2
        waiting[number] = clip.frames
        first, second = pairs[place]
        if number != second:
            continue
        both = [waiting.pop(n, None) for n in (first, second)]
        waiting.clear()  # the rest waited for a clip that could not be decoded
        if both[0] is None or both[1] is None:
            continue
        for turn, (front, back) in enumerate([(both[0], both[1]), (both[1], both[0])]):
            tubelets = len(front) // per_tubelet
            if with_whole:
                yield Splice(front, (0, tubelets), tubelets, 0.0)
            drawn = [(draw_span(2 * place + turn, tubelets, seed), 1.0)]
            for span, weight in weighted_spans(tubelets) if every_span else drawn:
                yield splice_pair(front, back, span, per_tubelet, weight)


class TemporalGroupingEvaluator:
    """Accuracy per tubelet of the read span, with raw pixels, all-foreground and chance as baselines."""

    SECTION = report_section.SECTION

    def __init__(self, options: GroupingOptions, config: Config):
        self.options = options
        self._dataset, self._video = options.dataset or config.input.dataset, config.model.video
        self._train = config.input
        legal_spans(self._video.num_frames // self._video.tubelet_size[0])
        self.clips()

    def clips(self) -> EvaluationClips:
        """Returns the clips of the split."""
        return EvaluationClips(self._dataset, self.options.split, self.options.limit, self._video)

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields means over splices.

        - `tubelet_accuracy`: fraction of tubelets on the correct side of the span read from the model, with the
          baselines
          `raw_pixels`: the same readout on pixels; the better of `raw_mean_color` and `raw_small_pictures`, each with
          and without the common mean subtracted, if it is for the model;
          `index_only`: the span that the model reads from the clip pasted into itself, where nothing but the temporal
          index can tell the sides apart;
          `all_foreground`, `chance`: every tubelet foreground; a random legal span;
          `constant_span`: the one legal span that fits all clips best, chosen with access to the truth. Middle indices
          are always foreground and the ends are not: this is the accuracy of a model that knows only that.
        - `cut_exact`: the span exactly right, with `raw_pixels` and `chance`.
        """
        clips, options, per_tubelet = self.clips(), self.options, self._video.tubelet_size[0]
        common: dict[str, np.ndarray] = {}
        if options.common_clips:
            common = mean_features(encoder, self._train.dataset, self._train.split, options.common_clips)
        waiting: list[tuple[Splice, dict[str, np.ndarray]]] = []
        every = options.spans == "all"

        def frames() -> Iterator[np.ndarray]:
            for spliced in spliced_clips(clips, options.partners, options.seed, per_tubelet, every, with_whole=True):
                readers = {} if spliced.is_whole else raw_pixels.FEATURES  # of a whole clip, only the model is read
                pixels = {name: read(spliced.frames, per_tubelet) for name, read in readers.items()}
                waiting.append((dataclasses.replace(spliced, frames=np.empty(0)), pixels))
                yield spliced.frames

        rows: list[dict[str, float]] = []
        splices: list[Splice] = []
        by_index = (0, 0)  # the span read from the clip pasted into itself, which the next splices start from
        for reading in encoder.videos(frames(), ("time_tokens",)):
            spliced, pixels = waiting.pop(0)
            model = reading["time_tokens"] - common.get("model", 0)
            if spliced.is_whole:
                by_index = spans.read_span(model, options.readout)
                continue
            splices.append(spliced)
            features = {"model": model, **pixels}
            features |= {f"{name}_centered": pixels[name] - common[name] for name in pixels if name in common}
            scores = score_splice(features, spliced.span, options.readout)
            scores["accuracy/index_only"] = spans.tubelet_accuracy(by_index, spliced.span, spliced.tubelets)
            rows.append(scores)
        if not rows:
            raise EvaluationError(f"split {clips.split!r}: no pair of decodable clips")
        weights = [spliced.weight for spliced in splices]
        mean = {name: float(np.average([row[name] for row in rows], weights=weights)) for name in rows[0]}
        for name in raw_pixels.FEATURES:
            for kind in ("accuracy", "exact"):
                mean[f"{kind}/{name}"] = max(mean[f"{kind}/{name}"], mean.get(f"{kind}/{name}_centered", 0.0))
        truth = [spliced.span for spliced in splices]
        more = {f"raw_{name}": mean[f"accuracy/{name}"] for name in raw_pixels.FEATURES} | {
            "index_only": mean["accuracy/index_only"],
            "all_foreground": mean["accuracy/all_foreground"],
            "constant_span": spans.constant_accuracy(truth, splices[0].tubelets, weights),
        }
        suffix, pairs = ("_ordinary", "ordinary pairs") if options.partners == "next" else ("", "look-alike pairs")
        for name, kind, label, baselines in (
            ("tubelet_accuracy", "accuracy", "splice accuracy per temporal index", more),
            ("cut_exact", "exact", "exact span accuracy", {}),
        ):
            yield Metric(
                f"{options.prefix}/{name}{suffix}",
                mean[f"{kind}/model"],
                Unit.FRACTION,
                f"{label}, {pairs}",
                higher_is_better=True,
                baselines={
                    "raw_pixels": max(mean[f"{kind}/{feature}"] for feature in raw_pixels.FEATURES),
                    "chance": mean[f"{kind}/chance"],
                    **baselines,
                },
            )
        yield clips.failed_fraction(options.prefix, suffix)


def score_splice(features: dict[str, np.ndarray], true: tuple[int, int], readout: str) -> dict[str, float]:
    """Returns `accuracy/<name>` and `exact/<name>` of spans read from features float [Nt, D], and of the baselines."""
    scores = {}
    for name, z in features.items():
        span = spans.read_span(z, readout)
        scores[f"accuracy/{name}"] = spans.tubelet_accuracy(span, true, len(z))
        scores[f"exact/{name}"] = float(span == true)
    length = len(next(iter(features.values())))
    scores["accuracy/chance"] = spans.chance_accuracy(true, length)
    scores["exact/chance"] = 1.0 / len(legal_spans(length))
    scores["accuracy/all_foreground"] = spans.all_foreground_accuracy(true, length)
    return scores
