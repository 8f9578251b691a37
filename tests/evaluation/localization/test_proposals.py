"""Tests of proposals against loops over all pairs, of their classes, and of the whole chain on a small problem."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from svilm_jax.evaluation.localization.proposals import classify, propose
from svilm_jax.input.segments import localization_targets
from svilm_jax.models.heads.gtad import GTAD
from svilm_jax.objectives.localization import Localization


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_propose(start, end, scores, duration, valid, boundaries):
    steps, found = len(start), []

    def likely(p, t):
        peak = 0 < t < steps - 1 and p[t - 1] < p[t] > p[t + 1]
        return peak or t in (0, steps - 1) or p[t] > max(p) / 2

    start, end, scores = sigmoid(start), sigmoid(end), sigmoid(scores)
    for s in range(steps):
        for e in range(s, steps):
            if likely(start, s) and likely(end, e) and valid[s, e - s]:
                score = scores[0, s, e - s] * scores[1, s, e - s]
                score *= start[s] * end[e] if boundaries else 1
                found.append((s * duration / steps, (e + 1) * duration / steps, score))
    return np.array(sorted(found, key=lambda row: (-row[2], row[0], row[1]))).reshape(-1, 3)


@pytest.mark.parametrize("boundaries", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_proposals_are_the_loop(masked, boundaries):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        start, end, scores = rng.normal(size=12) * 3, rng.normal(size=12) * 3, rng.normal(size=(2, 12, 12))
        inside = np.add.outer(np.arange(12), np.arange(12)) < (9 if masked else 12)
        got = propose(start, end, scores, 30.0, inside if masked else None, boundaries)
        np.testing.assert_allclose(got, slow_propose(start, end, scores, 30.0, inside, boundaries), atol=1e-12)
        assert (got[:, 1] > got[:, 0]).all()
        assert got[:, 1].max() <= 30.0


def test_a_clear_segment_comes_first_and_ties_have_an_order():
    start, end, scores = np.full(10, -6.0), np.full(10, -6.0), np.full((2, 10, 10), -6.0)
    start[3], end[6], scores[:, 3, 3] = 6, 6, 6
    made = propose(start, end, scores, 20.0)
    np.testing.assert_allclose(made[0], [6.0, 14.0, sigmoid(6.0) ** 2])
    np.testing.assert_allclose(propose(start, end, scores, 20.0, None, True)[0], [6.0, 14.0, sigmoid(6.0) ** 4])
    flat = propose(np.zeros(4), np.zeros(4), np.zeros((2, 4, 4)), 4.0)
    assert flat[:, :2].tolist() == [[s, e] for s in range(4) for e in range(s + 1, 5)]


def test_extreme_logits_and_bad_maps():
    made = propose(np.array([-1e4, 1e4]), np.array([-1e4, 1e4]), np.full((2, 2, 2), 1e4), 1.0)
    assert np.isfinite(made).all()
    with pytest.raises(ValueError, match=r"expected \[T\]"):
        propose(np.zeros(3), np.zeros(4), np.zeros((2, 3, 3)), 1.0)
    with pytest.raises(ValueError, match="not finite"):
        propose(np.full(3, np.nan), np.zeros(3), np.zeros((2, 3, 3)), 1.0)


def test_classes_are_the_softmax_of_the_mean_over_the_steps_inside():
    rng = np.random.default_rng(0)
    logits, steps, duration = rng.normal(size=(7, 4)), 7, 33.3
    grid = [(s * duration / steps, (e + 1) * duration / steps, 1.0) for s in range(7) for e in range(s, 7)]
    free = [tuple(np.sort(rng.uniform(0, duration, 2))) + (1.0,) for _ in range(50)]
    got = classify(np.array(grid + free), logits, duration)
    for row, (a, b, _) in zip(got, grid + free, strict=True):
        inside = [t for t in range(steps) if a <= (t + 0.5) * duration / steps < b]
        inside = inside or [int((a + b) / 2 / duration * steps)]
        mean = logits[inside].mean(axis=0)
        np.testing.assert_allclose(row, np.exp(mean) / np.exp(mean).sum(), atol=1e-12)
    spans = [(s, e) for s in range(7) for e in range(s, 7)]
    for (first, last), row in zip(spans, got[: len(spans)], strict=True):
        mean = logits[first : last + 1].mean(axis=0)
        np.testing.assert_allclose(row, np.exp(mean) / np.exp(mean).sum(), atol=1e-12)
    assert classify(np.zeros((0, 3)), logits, duration).shape == (0, 4)


STEPS, WIDTH, CLASSES, DURATION = 32, 12, 3, 64.0


def planted(rng, count):
    """Noise with one or two segments of a class's direction each: features [B, T, D], and their truth."""
    directions = np.eye(WIDTH)[:CLASSES] * 3
    features = rng.normal(size=(count, STEPS, WIDTH)) * 0.5
    truth = []
    for b in range(count):
        cuts = np.sort(rng.choice(np.arange(1, STEPS // 2), 2 + 2 * int(rng.integers(2)), replace=False)) * 2
        rows = [(s, e, int(rng.integers(CLASSES))) for s, e in cuts.reshape(-1, 2)]
        for s, e, label in rows:
            features[b, s:e] += directions[label]
        truth.append(np.array(rows, float) * [DURATION / STEPS, DURATION / STEPS, 1])
    each = [localization_targets(rows[:, :2], rows[:, 2], DURATION, STEPS) for rows in truth]
    batch = {name: jnp.asarray(np.stack([e[name] for e in each])) for name in each[0]}
    return jnp.asarray(features, jnp.float32), {**batch, "valid": jnp.ones(count, bool)}, truth


def recall(outputs, truth, few=5):
    """Share of true segments that one of the `few` best proposals overlaps by 0.7 or more and names right."""
    found = []
    for b, rows in enumerate(truth):
        maps = (np.asarray(outputs.start[b]), np.asarray(outputs.end[b]), np.asarray(outputs.scores[b]))
        best = propose(*maps, DURATION, np.asarray(outputs.valid[b]))[:few]
        names = classify(best, np.asarray(outputs.classes[b]), DURATION).argmax(axis=1)
        for s, e, label in rows:
            shared = np.maximum(np.minimum(best[:, 1], e) - np.maximum(best[:, 0], s), 0)
            iou = shared / (best[:, 1] - best[:, 0] + e - s - shared)
            found.append(bool(((iou >= 0.7) & (names == label)).any()))
    return float(np.mean(found))


def test_training_finds_segments_of_unseen_videos():
    head = GTAD(
        WIDTH, steps=STEPS, width=16, hidden=(24, 16), groups=4, path=2, input_groups=1, inner=8, context=2,
        classes=CLASSES, rngs=nnx.Rngs(0),
    )  # fmt: skip
    graphdef, state = nnx.split(head)
    optimizer = optax.adam(4e-3)
    slots = optimizer.init(state)

    @jax.jit
    def step(state, slots, features, batch):
        def loss(state):
            return Localization()(nnx.merge(graphdef, state)(features), batch, jax.random.key(0))[0]

        value, gradient = jax.value_and_grad(loss)(state)
        update, slots = optimizer.update(gradient, slots)
        return optax.apply_updates(state, update), slots, value

    @jax.jit
    def run(state, features):
        return nnx.merge(graphdef, state)(features)

    rng = np.random.default_rng(0)
    unseen, _, truth = planted(rng, 32)
    before, losses = recall(run(state, unseen), truth), []
    for _ in range(150):
        features, batch, _ = planted(rng, 8)
        state, slots, value = step(state, slots, features, batch)
        losses.append(float(value))
    after = recall(run(state, unseen), truth)
    assert before < 0.3
    assert after > 0.65
    assert np.mean(losses[-10:]) < 0.7 * losses[0]
