"""Tests of the localization losses against loops written from the formulas, without positives, and of gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.input.segments import localization_targets
from svilm_jax.models.outputs import LocalizationOutputs
from svilm_jax.objectives.localization import Localization, balanced_bce, regression_weights

STEPS, CLASSES = 8, 3


def made(segments, seed=0, classes=True, valid=None):
    """Random outputs, and the batch of videos of 16 seconds with these segments [(start, end, label), ...]."""
    rng, count = np.random.default_rng(seed), len(segments)
    inside = np.add.outer(np.arange(STEPS), np.arange(STEPS)) < STEPS
    outputs = LocalizationOutputs(
        start=jnp.asarray(rng.normal(size=(count, STEPS)), jnp.float32),
        end=jnp.asarray(rng.normal(size=(count, STEPS)), jnp.float32),
        scores=jnp.asarray(rng.normal(size=(count, 2, STEPS, STEPS)), jnp.float32),
        valid=jnp.asarray(np.tile(inside, (count, 1, 1))),
        classes=jnp.asarray(rng.normal(size=(count, STEPS, CLASSES + 1)), jnp.float32) if classes else None,
    )
    each = []
    for video in segments:
        rows = np.array(video, float).reshape(-1, 3)
        each.append(localization_targets(rows[:, :2], rows[:, 2], 16.0, STEPS))
    batch = {name: jnp.asarray(np.stack([e[name] for e in each])) for name in each[0]}
    return outputs, {**batch, "valid": jnp.asarray([True] * count if valid is None else valid)}


def sigmoid(x):
    return 1 / (1 + math.exp(-float(x)))


def slow_weighted_bce(pairs):
    """As the authors weigh it: n / 2n⁺ on positives, n / 2n⁻ on negatives, a mean over all n."""
    n, positives = len(pairs), sum(positive for _, positive in pairs)
    total = 0.0
    for logit, positive in pairs:
        p = sigmoid(logit)
        if positive:
            total -= 0.5 * n / positives * math.log(p)
        else:
            total -= 0.5 * n / (n - positives) * math.log(1 - p)
    return total / n


def slow_loss(outputs, batch, objective):
    rows = [b for b in range(len(batch["valid"])) if batch["valid"][b]]
    steps = [(b, t) for b in rows for t in range(STEPS)]
    anchors = [(b, s, d) for b, s in steps for d in range(STEPS - s)]
    parts = {}
    for name in ("start", "end"):
        parts[name] = slow_weighted_bce([(getattr(outputs, name)[i], bool(batch[name][i] > 0.5)) for i in steps])
    iou = {i: float(batch["iou"][i]) for i in anchors}
    parts["classification"] = slow_weighted_bce([(outputs.scores[b, 1, s, d], iou[b, s, d] > 0.9) for b, s, d in iou])
    high = [i for i in anchors if iou[i] > 0.7]
    middle = [i for i in anchors if 0.3 < iou[i] <= 0.7]
    low = [i for i in anchors if 0 < iou[i] <= 0.3]
    total = weights = 0.0
    for group in (high, middle, low):
        for b, s, d in group:
            weight = min(1.0, max(len(high), 1) / len(group))
            total += weight * (sigmoid(outputs.scores[b, 0, s, d]) - iou[b, s, d]) ** 2
            weights += weight
    parts["regression"] = 0.5 * total / weights
    assert any(batch["step_class"][b, t] < 0 for b, t in steps)
    losses, hits = [], []
    for b, t in steps if outputs.classes is not None else []:
        logits, truth = np.asarray(outputs.classes[b, t], np.float64), int(batch["step_class"][b, t])
        truth = CLASSES if truth < 0 else truth  # nothing is the last class
        losses.append(math.log(sum(math.exp(v) for v in logits)) - logits[truth])
        hits.append(int(np.argmax(logits)) == truth)
    parts["class"], parts["step_accuracy"] = (np.mean(losses), np.mean(hits)) if losses else (0.0, 0.0)
    loss = parts["start"] + parts["end"] + objective.regression * parts["regression"] + parts["classification"]
    return loss + objective.classes * parts["class"], parts


SEGMENTS = [
    [(2.0, 6.0, 1), (9.0, 15.0, 0)],
    [(0.0, 16.0, 2)],
    [],
    [(3.3, 7.9, 1), (4.0, 4.0, 2), (12.0, 40.0, 0)],
]


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("valid", [None, [True, False, True, True]])
def test_the_loss_is_the_formula(classes, valid):
    outputs, batch = made(SEGMENTS, classes=classes, valid=valid)
    objective = Localization(classes=0.5)
    loss, metrics = jax.jit(objective)(outputs, batch, jax.random.key(0))
    expected, parts = slow_loss(outputs, batch, objective)
    for name, value in parts.items():
        assert float(metrics[name]) == pytest.approx(value, rel=1e-5), name
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert set(metrics) == set(parts)


def test_what_does_not_exist_does_not_count():
    outputs, batch = made(SEGMENTS, valid=[True, False, True, True])
    loss, _ = Localization()(outputs, batch, jax.random.key(0))
    noise = jax.tree.map(lambda x: x.at[1].set(7) if x.dtype != bool else x, outputs)
    beyond = jnp.where(outputs.valid[:, None], noise.scores, 5.0)
    other = LocalizationOutputs(noise.start, noise.end, beyond, outputs.valid, noise.classes)
    assert float(Localization()(other, batch, jax.random.key(0))[0]) == pytest.approx(float(loss), rel=1e-6)


def test_weights_are_the_expected_draw():
    """Two high, four middle, eight low anchors: drawing as many as high keeps half and a quarter of them."""
    iou = jnp.array([0.8, 0.95] + [0.5] * 4 + [0.1] * 8 + [0.0] * 3 + [0.9])
    counted = jnp.arange(18) < 17
    got = regression_weights(iou, counted, 0.7, 0.3)
    np.testing.assert_allclose(got, [1, 1] + [0.5] * 4 + [0.25] * 8 + [0] * 4)
    rng, drawn = np.random.default_rng(0), np.zeros(18)
    for _ in range(4000):  # the authors' draw, for the same numbers
        chance = rng.random(18)
        drawn += np.where(iou > 0.7, 1, np.where(iou > 0.3, chance > 1 - 2 / 4, (iou > 0) & (chance > 1 - 2 / 8)))
    np.testing.assert_allclose(got[:17], drawn[:17] / 4000, atol=0.03)
    few = regression_weights(jnp.array([0.8, 0.9, 0.75, 0.5, 0.1]), jnp.ones(5, bool), 0.7, 0.3)
    np.testing.assert_allclose(few, 1)  # never more than all of them
    none = regression_weights(jnp.array([0.5, 0.5, 0.1]), jnp.ones(3, bool), 0.7, 0.3)
    np.testing.assert_allclose(none, [0.5, 0.5, 1])


def test_one_sided_entropy_is_half_of_that_side():
    logits, every = jnp.array([2.0, -1.0]), jnp.ones(2, bool)
    right = np.mean(np.log1p(np.exp(-np.asarray(logits)))) / 2
    assert float(balanced_bce(logits, every, every)) == pytest.approx(right, rel=1e-6)
    assert float(balanced_bce(-logits, ~every, every)) == pytest.approx(right, rel=1e-6)
    assert float(balanced_bce(logits, every, ~every)) == 0


@pytest.mark.parametrize(
    ("segments", "valid"),
    [
        ([[], []], None),
        ([[(5.0, 5.0, 1)], [(20.0, 30.0, 1)]], None),
        ([[(5.0, 5.3, 1)], [(12.0, 40.0, 1)]], None),
        (SEGMENTS[:2], [False, False]),
        ([[(0.0, 16.0, 1)], [(0.0, 16.0, 1)]], None),
    ],
    ids=["nothing", "points and beyond", "short and cut", "no row", "all of the video"],
)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_values_and_gradients_stay_finite(segments, valid, scale):
    outputs, batch = made(segments, valid=valid)

    def loss(logits):
        start, end, scores, classes = logits
        whole = LocalizationOutputs(start, end, scores, outputs.valid, classes)
        return Localization()(whole, batch, jax.random.key(0))

    logits = jax.tree.map(lambda x: x * scale, (outputs.start, outputs.end, outputs.scores, outputs.classes))
    (value, metrics), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(logits)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, metrics, gradients)))
    if valid is not None:
        assert value == 0
