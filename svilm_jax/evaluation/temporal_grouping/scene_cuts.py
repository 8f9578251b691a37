"""Scene-cut evaluator: F1 of cuts that are read from video tokens over sliding windows of a long video.

Windows of the duration of training clips slide over the video by half their length, on a grid of tubelets. The
dissimilarity of neighboring tubelets, 1 − cos(z_j, z_{j+1}), is averaged where windows overlap, and its peaks above a
threshold are the cuts. The threshold is chosen on a different split than the reported one, for the model and for every
pixel baseline alike.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import CountOrZero, LocalPath, Positive, PositiveOrZero, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError, video_header
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.evaluation.temporal_grouping import cut_detection, raw_pixels, report_section
from svilm_jax.evaluation.temporal_grouping.mean_features import mean_features
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.schema import Record

Peaks = list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class SceneCutOptions:
    """Options of scene-cut detection.

    Attributes:
      dataset: folder of a prepared dataset; "": `config.input.dataset`.
      split: where F1 is reported.
      threshold_split: where the threshold is chosen; never `split`.
      limit, threshold_limit: use the first N videos of each; 0: all.
      window_seconds: duration of a model input clip.
      tolerance: seconds between a cut and its match; 0: one tubelet.
      min_gap: seconds between two detected cuts.
      common_clips: number of training clips whose mean per temporal index is subtracted first; 0: no subtraction.
        Pixels are read both ways, and the better result counts.
      prefix: prefix of the metric names.
    """

    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "untrimmed_test"
    threshold_split: Chosen[Text] = "untrimmed_train"
    limit: Chosen[CountOrZero] = 0
    threshold_limit: Chosen[CountOrZero] = 20
    window_seconds: Chosen[Positive] = 2.0
    tolerance: Chosen[PositiveOrZero] = 0.0
    min_gap: Chosen[PositiveOrZero] = 0.5
    common_clips: Chosen[CountOrZero] = 0
    prefix: Chosen[Text] = "grouping"


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Results on the videos of a split.

    Attributes:
      peaks: feature name -> candidate cuts (seconds, height) of every video.
      true: annotated cuts of every video in seconds.
      seconds: duration of every video.
    """

    peaks: dict[str, list[Peaks]]
    true: list[tuple[float, ...]]
    seconds: list[float]


def window_starts(seconds: float, window: float, tubelets: int) -> list[int]:
    """Returns the first tubelet of every window over a video of the given duration.

    Windows start every half window, on the grid of tubelets (window / tubelets seconds each), so that values of
    different windows fall on the same times; a last one reaches the end of the video up to a fraction of a tubelet.
    """
    step = window / tubelets
    last = max(0, int((seconds - window) / step + 1e-6))
    stride = max(1, tubelets // 2)
    return sorted({*range(0, last + 1, stride), last})


class SceneCutEvaluator:
    """F1 of scene cuts, with raw pixels, random and evenly spaced cuts as baselines."""

    SECTION = report_section.SECTION

    def __init__(self, options: SceneCutOptions, config: Config):
        if options.split == options.threshold_split:
            raise ConfigError(
                f"scene_cuts threshold_split={options.threshold_split!r} is the split that is reported: choose the "
                "threshold on another one"
            )
        self.options = options
        self._dataset, self._video = options.dataset or config.input.dataset, config.model.video
        self._train = config.input
        self._tubelets = self._video.num_frames // self._video.tubelet_size[0]
        self.clips(options.split, options.limit)
        self.clips(options.threshold_split, options.threshold_limit)

    def clips(self, split: str, limit: int) -> EvaluationClips:
        """Returns the untrimmed videos of a split."""
        return EvaluationClips(self._dataset, split, limit, self._video)

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields `scene_cut_f1` with the following baselines, and `failed_fraction_untrimmed`.

        - `raw_pixels`: the better of `raw_mean_color` and `raw_small_pictures`, with the same readout.
        - `chance`, `evenly_spaced`: the true number of cuts of every video, at random times or evenly spaced.
        """
        options, prefix = self.options, self.options.prefix
        tolerance = options.tolerance or options.window_seconds / self._tubelets
        common: dict[str, np.ndarray] = {}
        if options.common_clips:
            common = mean_features(encoder, self._train.dataset, self._train.split, options.common_clips)
        chosen = self.search(encoder, self.clips(options.threshold_split, options.threshold_limit), common)
        clips = self.clips(options.split, options.limit)
        found = self.search(encoder, clips, common)
        scores = {}
        for name, peaks in found.peaks.items():
            threshold = cut_detection.best_threshold(chosen.peaks[name], chosen.true, tolerance)
            predicted = [cut_detection.above(video, threshold) for video in peaks]
            scores[name] = cut_detection.f1(predicted, found.true, tolerance)
        for name in raw_pixels.FEATURES:
            scores[name] = max(scores[name], scores.get(f"{name}_centered", 0.0))
        baselines = {"raw_pixels": max(scores[name] for name in raw_pixels.FEATURES)}
        baselines |= {f"raw_{name}": scores[name] for name in raw_pixels.FEATURES} | {
            "chance": cut_detection.random_f1(found.true, found.seconds, tolerance),
            "evenly_spaced": cut_detection.evenly_spaced_f1(found.true, found.seconds, tolerance),
        }
        name, label = f"{prefix}/scene_cut_f1", "scene-cut F1, long videos"
        yield Metric(name, scores["model"], Unit.FRACTION, label, True, baselines)
        yield clips.failed_fraction(prefix, "_untrimmed")

    def search(self, encoder: Encoder, clips: EvaluationClips, common: Mapping[str, np.ndarray]) -> SearchResult:
        """Finds candidate cuts in all videos of a split, from the model's tokens and from raw pixels.

        Args:
          encoder: encoder of the model.
          clips: untrimmed videos of a split.
          common: subtracted from the features of the same name; those of pixels are also kept unchanged, and get the
            suffix `_centered` with it.

        Raises:
          EvaluationError: no decodable video with annotated cuts.
        """
        window, per_tubelet = self.options.window_seconds, self._video.tubelet_size[0]
        kinds = ("model", *raw_pixels.FEATURES, *(f"{name}_centered" for name in raw_pixels.FEATURES if name in common))
        step = window / self._tubelets
        records: dict[int, Record] = {}
        seconds: dict[int, float] = {}
        jobs: list[tuple[int, int]] = []  # (record number, first tubelet)
        for number in clips.numbers:
            record = clips.records[number]
            header = video_header(record)
            if record.cuts and header is not None:
                duration = header.duration
                records[number] = dataclasses.replace(record, video=b"", masks=None)
                seconds[number] = duration
                jobs += [(number, first) for first in window_starts(duration, window, self._tubelets)]
        curves = {
            number: {
                name: cut_detection.DissimilarityCurve(step, max(self._tubelets, int(duration / step)) - 1)
                for name in kinds
            }
            for number, duration in seconds.items()
        }
        waiting: list[tuple[int, int]] = []

        def frames() -> Iterator[np.ndarray]:
            windows = [(first * step, min(first * step + window, seconds[number])) for number, first in jobs]
            for position, clip in clips.read([number for number, _ in jobs], windows):
                number, first = jobs[position]
                waiting.append((number, first))
                for name, features in raw_pixels.FEATURES.items():
                    z = features(clip.frames, per_tubelet)
                    curves[number][name].add(first, cut_detection.neighbor_dissimilarity(z))
                    if name in common:
                        without = cut_detection.neighbor_dissimilarity(z - common[name])
                        curves[number][f"{name}_centered"].add(first, without)
                yield clip.frames

        for reading in encoder.videos(frames(), ("time_tokens",)):
            number, first = waiting.pop(0)
            z = reading["time_tokens"] - common.get("model", 0)
            curves[number]["model"].add(first, cut_detection.neighbor_dissimilarity(z))
        kept = [number for number in records if number not in clips.failed]
        if not kept:
            raise EvaluationError(f"split {clips.split!r}: no decodable video with annotated cuts")

        def peaks(curve: cut_detection.DissimilarityCurve) -> Peaks:
            return cut_detection.candidate_peaks(curve.times, curve.values, self.options.min_gap)

        return SearchResult(
            peaks={name: [peaks(curves[n][name]) for n in kept] for name in kinds},
            true=[records[number].cuts for number in kept],
            seconds=[seconds[number] for number in kept],
        )
