"""Tests of the vectorized mAP against the official definition, with ties, points and reversed segments."""

import time

import numpy as np
import pytest

from svilm_jax.evaluation.localization import metrics
from svilm_jax.evaluation.localization.metrics import Segments, detection_average_precision
from svilm_jax.evaluation.localization.published_files import read_ground_truth


def slow_overlap(one, other):
    """Intersection over union, NaN for 0 / 0."""
    common = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (other[1] - other[0]) + (one[1] - one[0]) - common
    return common / union if union else float("nan")


def backwards(values):
    """The order that the official evaluation goes through: NumPy's own sort, read from its end."""
    return np.array(values, float).argsort()[::-1].tolist()


def slow_average_precision(targets, predictions, threshold):
    """Of one class: targets [(video, times)], predictions [(video, times, score)], one after the other."""
    taken, hits = set(), []
    for p in backwards([score for _, _, score in predictions]):
        video, times, _ = predictions[p]
        here = [number for number, (name, _) in enumerate(targets) if name == video]
        overlaps = [slow_overlap(times, targets[number][1]) for number in here]
        choice = None
        for place in backwards(overlaps):
            if not overlaps[place] < threshold and here[place] not in taken:
                choice = here[place]
                break
        hits.append(choice is not None)
        taken.add(choice)
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    area, recall = 0.0, 0.0
    for n in range(len(hits)):
        new_recall = sum(hits[: n + 1]) / len(targets)
        area += (new_recall - recall) * max(precision[n:])
        recall = new_recall
    return area


def slow(truth, predictions, thresholds):
    """threshold -> class -> average precision."""

    def of(segments, label, *columns):
        chosen = np.flatnonzero(segments.labels == label)
        return [tuple(column[n] for column in (segments.videos, segments.times, *columns)) for n in chosen]

    labels = list(dict.fromkeys(truth.labels.tolist()))
    return labels, np.array(
        [
            [slow_average_precision(of(truth, c), of(predictions, c, predictions.scores), t) for c in labels]
            for t in thresholds
        ]
    )


def random_case(seed):
    """Few videos, whole seconds and few scores: ties of both kinds, points, reversed segments and duplicates abound."""
    rng = np.random.default_rng(seed)

    def segments(n, videos, labels, shortest):
        start = rng.integers(0, 10, n)
        times = np.stack([start, start + rng.integers(shortest, 5, n)], axis=1).astype(float)
        return [f"v{v}" for v in rng.integers(0, videos, n)], [f"c{c}" for c in rng.integers(0, labels, n)], times

    truth = Segments.of(*segments(int(rng.integers(1, 60)), 4, 4, 0))
    n = 0 if seed == 7 else int(rng.integers(1, 150))
    predictions = Segments.of(*segments(n, 6, 6, -3), rng.integers(0, 5, n) / 4 if seed % 2 else rng.random(n))
    return truth, predictions


@pytest.mark.parametrize("seed", range(30))
def test_matches_a_slow_loop_over_the_definition(seed):
    truth, predictions = random_case(seed)
    found = detection_average_precision(truth, predictions)
    labels, expected = slow(truth, predictions, np.arange(50, 100, 5) / 100)
    assert found.labels == labels
    np.testing.assert_allclose(found.average_precision, expected, rtol=0, atol=1e-12)
    assert found.average == pytest.approx(expected.mean(), abs=1e-12)


def test_the_random_cases_hold_what_they_are_there_for():
    cases = [random_case(seed) for seed in range(30)]
    found = [detection_average_precision(*case) for case in cases]
    assert any(len(p) == 0 for _, p in cases)
    assert any(f.tied_scores for f in found)
    assert any(f.unknown_labels for f in found)
    assert any(f.without_predictions for f in found)
    assert any((p.times[:, 0] == p.times[:, 1]).any() and (p.times[:, 0] > p.times[:, 1]).any() for _, p in cases)
    assert len({round(f.average, 6) for f in found}) > 20


def one_class(truth, predictions):
    videos, times = zip(*truth, strict=True)
    videos_, times_, scores = zip(*predictions, strict=True)
    return detection_average_precision(
        Segments.of(videos, ["a"] * len(videos), times), Segments.of(videos_, ["a"] * len(videos_), times_, scores)
    )


def test_a_case_worked_by_hand():
    # Hit, miss, hit of three targets: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3. Area 1/3 + 1/3 * 2/3 = 5/9.
    truth = [("v", (0, 10)), ("v", (20, 30)), ("w", (0, 10))]
    found = one_class(truth, [("v", (0, 10), 0.9), ("v", (0, 10), 0.8), ("v", (20, 30), 0.7)])
    np.testing.assert_allclose(found.mean_average_precision, 5 / 9)


def test_an_overlap_at_the_threshold_is_a_hit_and_one_below_is_not():
    found = one_class([("v", (0, 8))], [("v", (0, 6), 0.5)])
    assert found.mean_average_precision.tolist() == [1.0] * 6 + [0.0] * 4  # 0.75 is the sixth threshold


def test_a_target_taken_by_a_better_score_goes_to_the_next_nearest():
    truth = [("v", (0, 10)), ("v", (1, 11))]
    found = one_class(truth, [("v", (0, 10), 0.9), ("v", (0, 10), 0.8)])
    assert found.mean_average_precision[0] == 1.0  # the second overlaps the other by 9/11
    assert found.mean_average_precision[-1] == 0.5


def test_points_are_hits_at_every_threshold_as_in_the_official_evaluation():
    found = one_class([("v", (5, 5))], [("v", (90, 90), 0.5)])
    assert found.mean_average_precision.tolist() == [1.0] * 10


def test_a_point_is_taken_before_the_segment_that_overlaps():
    truth = [("v", (0, 0)), ("v", (0, 10))]
    # Reversed by ten: 0 / 0 with the segment, and no overlap with the point.
    found = one_class(truth, [("v", (10, 0), 0.9), ("v", (0, 10), 0.8)])
    assert found.mean_average_precision.tolist() == [0.5] * 10


def test_a_class_without_predictions_counts_as_zero_and_an_unknown_one_not_at_all():
    truth = Segments.of(["v", "v"], ["a", "b"], [(0, 1), (2, 3)])
    found = detection_average_precision(truth, Segments.of(["v", "v"], ["a", "z"], [(0, 1), (2, 3)], [0.5, 0.6]))
    assert found.average == 0.5
    assert found.without_predictions == 1
    assert found.unknown_labels == {"z": 1}


def test_nothing_predicted_is_zero():
    truth = Segments.of(["v"], ["a"], [(0, 1)])
    assert detection_average_precision(truth, Segments.of([], [], [], [])).average == 0


def test_tied_scores_are_counted_within_a_class():
    truth = Segments.of(["v", "v"], ["a", "b"], [(0, 1), (2, 3)])
    labels = ["a", "a", "b", "b", "b"]
    predictions = Segments.of(["v"] * 5, labels, [(0, 1)] * 5, [0.5, 0.4, 0.5, 0.5, 0.4])
    assert detection_average_precision(truth, predictions).tied_scores == 2


def test_what_cannot_be_ordered_is_refused():
    truth = Segments.of(["v"], ["a"], [(0, 1)])
    for predictions, message in [
        (truth, "without scores"),
        (Segments.of(["v"], ["a"], [(0, 1)], [np.nan]), "finite"),
        (Segments.of(["v"], ["a"], [(0, np.inf)], [0.1]), "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            detection_average_precision(truth, predictions)
    with pytest.raises(ValueError, match="no ground-truth"):
        detection_average_precision(Segments.of([], [], []), Segments.of([], [], [], []))
    with pytest.raises(ValueError, match="above 0"):
        detection_average_precision(truth, Segments.of([], [], [], []), [0.0, 0.5])
    with pytest.raises(ValueError, match="lengths"):
        Segments.of(["v"], ["a", "b"], [(0, 1)])


def test_overlap_of_many():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, (2, 200, 2)).astype(float)
    expected = [slow_overlap(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_array_equal(metrics.temporal_iou(first, second), expected)


def test_the_validation_set_with_a_submission_of_usual_size_takes_seconds(realdata):
    file = realdata / "annotations" / "activitynet" / "derived" / "activity_net.v1-3.reconstructed.min.json.gz"
    if not file.exists():
        pytest.skip(f"no {file}")
    truth = read_ground_truth(file)
    assert len(truth) == 7654
    rng = np.random.default_rng(0)
    source = rng.integers(0, len(truth), 17_505)
    noise = rng.normal(0, 0.1, (len(source), 2)) * np.ptp(truth.times[source], axis=1)[:, None]
    predictions = Segments(truth.videos[source], truth.labels[source], truth.times[source] + noise, rng.random(17_505))
    began = time.process_time()
    found = detection_average_precision(truth, predictions)
    assert time.process_time() - began < 60  # of this process alone; all pairs would take hours
    assert found.average_precision.shape == (10, 200)
    chosen = [found.labels.index(label) for label in ("High jump", "Playing kickball", "Archery")]
    keep = np.isin(truth.labels, ["High jump", "Playing kickball", "Archery"])
    ask = np.isin(predictions.labels, ["High jump", "Playing kickball", "Archery"])
    few, expected = slow(truth.subset(keep), predictions.subset(ask), [0.5, 0.95])
    picked = found.average_precision[:, sorted(chosen)][[0, -1]]
    assert [found.labels[c] for c in sorted(chosen)] == few
    np.testing.assert_allclose(picked, expected, rtol=0, atol=1e-12)
