"""Tests of multi-level alignment against loops written from docs/method.md, 2: targets and gradients."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.models.outputs import Outputs, VideoOutputs
from svilm_jax.objectives.multilevel_alignment import (
    SHORTEST,
    MultilevelAlignment,
    graded_targets,
    segment_spans,
    segment_weights,
)
from tests.objectives.conftest import unit

KEY = jax.random.key(0)
TIMES, COUNT, WIDTH, SCALE = 6, 3, 5, 7.0
UNKNOWN = (-1.0, -1.0)

# Of four videos with three places for sentences each.
TIMED = [
    [(0.0, 0.4), (0.3, 0.75), (0.8, 1.0)],
    [(0.5, 1.0), (0.0, 0.5), UNKNOWN],
    [(0.1, 0.9), UNKNOWN, UNKNOWN],
    [(0.2, 0.3), (0.25, 0.6), (0.25, 0.6)],
]
MASK = [[True, True, True], [True, True, False], [True, False, False], [True, True, True]]
UNTIMED = [[UNKNOWN] * COUNT] * 4
SPLICE = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0]], bool)


def made(spans, mask=MASK, valid=None, splice=None, seed=0):
    rng, rows = np.random.default_rng(seed), len(spans)
    empty = jnp.zeros((rows, 0))
    time = rng.normal(size=(rows, TIMES, WIDTH)).astype(np.float32)
    whole = time.mean(axis=1)
    video = VideoOutputs(
        tokens=empty,
        group_tokens=empty,
        logits=(),
        assignments=(),
        embedding=jnp.asarray(whole / np.linalg.norm(whole, axis=-1, keepdims=True)),
        group_embedding=empty,
        time_embedding=jnp.asarray(time),
    )
    sentences = jnp.asarray(unit(rng, rows, COUNT, WIDTH))
    batch = {
        "sentence_spans": jnp.asarray(spans, jnp.float32),
        "sentence_mask": jnp.asarray(mask),
        "valid": jnp.asarray([True] * rows if valid is None else valid),
    }
    if splice is not None:
        batch["splice_mask"] = jnp.asarray(splice)
    return Outputs(video=video, logit_scale=jnp.asarray(SCALE), sentence_embedding=sentences), batch


def direction(x):
    return x / np.linalg.norm(x)


def slow_spans(spans, exists):
    """The span of every sentence of one video that exists, and whether they are stated."""
    numbers = [s for s in range(COUNT) if exists[s]]
    timed = all(spans[s][0] >= 0 and spans[s][1] >= 0 for s in numbers)
    found = {}
    for place, s in enumerate(numbers):
        start, end = spans[s] if timed else (place / len(numbers), (place + 1) / len(numbers))
        start = min(max(float(start), 0.0), 1 - SHORTEST)
        found[s] = (start, min(max(float(end), start + SHORTEST), 1.0))
    return found, timed


def overlap(a, b):
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def slow_direction(rows, columns, grade, hard):
    """Mean over rows of the cross-entropy with graded targets; `rows` and `columns`: place -> vector."""
    losses, hits = [], []
    for at, vector in rows.items():
        total, wanted = 0.0, {}
        scores = {to: SCALE * float(vector @ other) for to, other in columns.items()}
        for to, score in scores.items():
            weight = 1.0
            if to[0] == at[0]:
                fits = grade(at, to)
                if fits > 0:
                    wanted[to] = fits
                else:
                    weight = hard
            total += weight * math.exp(score)
        losses.append(-sum(q / sum(wanted.values()) * (scores[to] - math.log(total)) for to, q in wanted.items()))
        hits.append(max(scores, key=scores.get) == at)
    return (float(np.mean(losses)), float(np.mean(hits))) if losses else (0.0, 0.0)


def slow_loss(outputs, batch, objective):
    time = np.asarray(outputs.video.time_embedding, np.float64)
    said = np.asarray(outputs.sentence_embedding, np.float64)
    exists = np.asarray(batch["sentence_mask"]) & np.asarray(batch["valid"])[:, None]
    told = [i for i in range(len(exists)) if exists[i].any()]
    whole = {i: direction(sum(said[i, s] for s in range(COUNT) if exists[i, s])) for i in told}
    seen = np.asarray(outputs.video.embedding, np.float64)
    directions = []
    for i in told:
        own = SCALE * seen[i] @ whole[i]
        directions.append(
            (
                math.log(sum(math.exp(SCALE * seen[i] @ whole[j]) for j in told)) - own,
                math.log(sum(math.exp(SCALE * seen[j] @ whole[i]) for j in told)) - own,
            )
        )
    across_all = float(np.mean(directions)) if told else 0.0

    segments, sentences, spans, places, timed = {}, {}, {}, {}, {}
    for i in told:
        found, timed[i] = slow_spans(np.asarray(batch["sentence_spans"][i]), exists[i])
        for s, span in found.items():
            total, own, kept = np.zeros(WIDTH), 0.0, 0.0
            for n in range(TIMES):
                share = TIMES * overlap(span, (n / TIMES, (n + 1) / TIMES))
                own += share
                if "splice_mask" not in batch or batch["splice_mask"][i, n]:
                    kept += share
                    total += share * time[i, n]
            if kept > own / 2:
                segments[i, s], sentences[i, s] = direction(total), said[i, s]
                spans[i, s], places[i, s] = span, len([p for p in places if p[0] == i])

    def grade(a, b):
        if objective.targets == "one_hot":
            return float(a == b)
        if timed[a[0]]:
            both = overlap(spans[a], spans[b])
            return both / (spans[a][1] - spans[a][0] + spans[b][1] - spans[b][0] - both)
        return math.exp(-(((places[a] - places[b]) / objective.monotone_width) ** 2) / 2)

    hard = objective.hard_negative_weight
    forth, accuracy = slow_direction(segments, sentences, grade, hard)
    back, _ = slow_direction(sentences, segments, grade, hard)
    return across_all, (forth + back) / 2, accuracy


CASES = {
    "timed": {"spans": TIMED},
    "untimed": {"spans": UNTIMED},
    "mixed": {"spans": [TIMED[0], UNTIMED[1], TIMED[2], UNTIMED[3]]},
    "one sentence lacks its times": {"spans": [[(0.0, 0.4), UNKNOWN, (0.8, 1.0)], *TIMED[1:]]},
    "a gap in the sentences": {
        "spans": [TIMED[0], UNTIMED[1], TIMED[2], UNTIMED[3]],
        "mask": [[True, True, False], [True, False, True], [False, True, False], [False, True, True]],
    },
    "a video without sentences": {"spans": TIMED, "mask": [*MASK[:2], [False] * 3, MASK[3]]},
    "a row that is not valid": {"spans": TIMED, "valid": [True, False, True, True]},
    "no length, beyond the end": {
        "spans": [[(0.5, 0.5), (1.0, 1.0), (0.0, 0.0)], [(0.9, 1.7), (0.4, 0.6), UNKNOWN], *TIMED[2:]]
    },
    "spliced": {"spans": TIMED, "splice": SPLICE},
    "spliced, untimed": {"spans": UNTIMED, "splice": SPLICE},
    "one video": {"spans": TIMED[:1], "mask": MASK[:1]},
    "one sentence in all": {"spans": TIMED[2:3], "mask": MASK[2:3]},
}


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_the_formula(name):
    outputs, batch = made(**CASES[name])
    changed = {"hard_negative_weight": 1.0, "monotone_width": 1.5}
    for options in ({}, changed, {"hard_negative_weight": 5.0}, {"targets": "one_hot"}):
        objective = MultilevelAlignment(global_weight=0.7, segment_weight=0.4, **options)
        loss, metrics = objective(outputs, batch, KEY)
        across_all, segment, accuracy = slow_loss(outputs, batch, objective)
        assert float(metrics["global"]) == pytest.approx(across_all, rel=1e-4, abs=1e-6)
        assert float(metrics["segment"]) == pytest.approx(segment, rel=1e-4, abs=1e-6)
        assert float(metrics["segment_accuracy"]) == pytest.approx(accuracy)
        assert float(loss) == pytest.approx(0.7 * across_all + 0.4 * segment, rel=1e-4, abs=1e-6)


def test_the_cases_differ_where_they_should():
    """Splicing takes segments out, and a heavier hard negative costs more: or the cases above would say less."""
    kept = {name: slow_loss(*made(**CASES[name]), MultilevelAlignment())[1] for name in ("timed", "spliced")}
    assert abs(kept["timed"] - kept["spliced"]) > 1e-2
    light, heavy = (MultilevelAlignment(hard_negative_weight=w)(*made(TIMED), KEY)[1]["segment"] for w in (1.0, 5.0))
    assert heavy > light + 1e-2


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_hard_negative_may_weigh_nothing(weight):
    outputs, batch = made(TIMED)
    objective = MultilevelAlignment(hard_negative_weight=weight)
    value, gradient = jax.value_and_grad(lambda o: objective(o, batch, KEY)[1]["segment"])(outputs)
    assert float(value) == pytest.approx(slow_loss(outputs, batch, objective)[1], rel=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_level_of_weight_zero_has_no_gradient():
    outputs, batch = made(TIMED)

    def gradients(**weights):
        def loss(outputs):
            return MultilevelAlignment(**weights)(outputs, batch, KEY)[0]

        return jax.grad(loss)(outputs)

    segment, across_all = gradients(global_weight=0.0), gradients(segment_weight=0.0)
    assert not np.any(segment.video.embedding)  # only the global level reads whole clips
    assert np.any(segment.video.time_embedding)
    assert not np.any(across_all.video.time_embedding)  # and only the segment level reads their parts
    assert np.any(across_all.video.embedding)
    with pytest.raises(ValueError, match="both 0, which disables the objective"):
        MultilevelAlignment(global_weight=0.0, segment_weight=0.0)


@pytest.mark.parametrize("case", ["no sentences", "no valid row", "everything pasted over", "vectors of zero"])
def test_gradients_are_finite_where_nothing_counts(case):
    outputs, batch = made(TIMED)
    if case == "no sentences":
        batch["sentence_mask"] = jnp.zeros((4, COUNT), bool)
    elif case == "no valid row":
        batch["valid"] = jnp.zeros(4, bool)
    elif case == "everything pasted over":
        batch["splice_mask"] = jnp.zeros((4, TIMES), bool)
    else:
        outputs = jax.tree.map(lambda x: x * (x.ndim == 0), outputs)  # all but the scale
    objective = MultilevelAlignment()
    (loss, metrics), gradients = jax.value_and_grad(lambda o: objective(o, batch, KEY), has_aux=True)(outputs)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    if case != "vectors of zero":
        assert metrics["segment"] == metrics["segment_accuracy"] == 0
        assert not np.any(gradients.video.time_embedding)
    if case in ("no sentences", "no valid row"):
        assert loss == 0


def test_what_does_not_exist_is_not_read():
    outputs, batch = made(TIMED, valid=[True, False, True, True])
    exists = batch["sentence_mask"] & batch["valid"][:, None]
    other = dataclasses.replace(
        outputs,
        sentence_embedding=jnp.where(exists[..., None], outputs.sentence_embedding, 9.0),
        video=dataclasses.replace(
            outputs.video,
            embedding=outputs.video.embedding.at[1].set(9.0),
            time_embedding=outputs.video.time_embedding.at[1].set(9.0),
        ),
    )
    spans = jnp.where(exists[..., None], batch["sentence_spans"], 0.5)
    got, expected = (
        MultilevelAlignment()(o, b, KEY) for o, b in ((other, {**batch, "sentence_spans": spans}), (outputs, batch))
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("spans", [TIMED, UNTIMED])
def test_targets_are_symmetric_shares_with_ones_on_the_diagonal(spans):
    mask = jnp.asarray(MASK)
    found, timed = segment_spans(jnp.asarray(spans, jnp.float32), mask)
    targets = np.asarray(graded_targets(found, timed, mask, 0.5))
    assert np.asarray(timed).all() == (spans is TIMED)
    assert ((targets >= 0) & (targets <= 1 + 1e-6)).all()
    np.testing.assert_allclose(targets, targets.transpose(0, 2, 1))
    np.testing.assert_allclose(np.diagonal(targets, axis1=1, axis2=2), mask, atol=1e-6)
    assert not targets[~np.asarray(mask)].any()


def test_targets_by_hand():
    spans = jnp.array([[[0.0, 0.5], [0.25, 0.75], [0.5, 1.0]], [UNKNOWN] * 3])
    mask = jnp.ones((2, 3), bool)
    found, timed = segment_spans(spans, mask)
    np.testing.assert_allclose(found[1], [[0, 1 / 3], [1 / 3, 2 / 3], [2 / 3, 1]], atol=1e-6)
    targets = graded_targets(found, timed, mask, 0.5)
    np.testing.assert_allclose(targets[0], [[1, 1 / 3, 0], [1 / 3, 1, 1 / 3], [0, 1 / 3, 1]], atol=1e-6)
    near, far = math.exp(-2), math.exp(-8)
    np.testing.assert_allclose(targets[1], [[1, near, far], [near, 1, near], [far, near, 1]], atol=1e-6)


def test_spans_keep_a_length_inside_the_window():
    spans = jnp.array([[[0.5, 0.5], [1.0, 1.0], [0.7, 0.2], [0.9, 3.0]]])
    found, timed = segment_spans(spans, jnp.ones((1, 4), bool))
    assert bool(timed[0])
    start, end = np.asarray(found[0]).T
    assert (start >= 0).all()
    assert (end <= 1).all()
    np.testing.assert_allclose(end - start, [SHORTEST, SHORTEST, SHORTEST, 0.1], atol=1e-6)
    np.testing.assert_allclose(start, [0.5, 1 - SHORTEST, 0.7, 0.9], atol=1e-6)


def test_weights_are_the_shares_of_time_indices():
    weights = segment_weights(jnp.array([[[0.0, 1.0], [0.125, 0.5], [0.3, 0.3 + SHORTEST]]]), 4)
    np.testing.assert_allclose(weights[0, 0], [1, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(weights[0, 1], [0.5, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(weights[0, 2], [0, 4 * SHORTEST, 0, 0], atol=1e-6)
