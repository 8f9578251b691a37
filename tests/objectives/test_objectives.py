"""Tests of the method's three objectives against NumPy loops written from docs/method.md, 1.3 to 1.5."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.objectives import GlobalContrast, SpatialGrounding, TemporalGrouping, build_objectives, total_loss
from svilm_jax.objectives.spatial_grounding import clip_noun_scores, phrase_weights
from svilm_jax.objectives.temporal_grouping import common_tokens, foreground_probability
from tests.objectives.test_contrast import slow_info_nce
from tests.tiny import tiny_config

KEY = jax.random.key(0)


def slow_scores(groups, nouns, mask, temperature):
    scores = np.zeros((len(groups), len(nouns)))
    for i, j in np.ndindex(scores.shape):
        parts = []
        for k in range(nouns.shape[1]):
            if not mask[j, k]:
                continue
            s = [float(np.dot(groups[i, m], nouns[j, k])) for m in range(groups.shape[1])]
            weights = [math.exp(x / temperature) for x in s]
            parts.append(sum(w / sum(weights) * x for w, x in zip(weights, s, strict=True)))
        scores[i, j] = np.mean(parts) if parts else 0.0
    return scores


def test_clip_noun_scores(made):
    outputs, batch = made
    groups, nouns, mask = outputs.video.group_embedding, outputs.noun_embedding, batch["noun_mask"]
    got = clip_noun_scores(groups, nouns, phrase_weights(mask), 0.2)
    np.testing.assert_allclose(got, slow_scores(*map(np.asarray, (groups, nouns, mask)), 0.2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("reduction", "factor"), [("mean", 0.5), ("sum", 1.0)])
def test_spatial_grounding(made, reduction, factor):
    outputs, batch = made
    objective = SpatialGrounding(temperature=0.3, contrast_temperature=0.1, reduction=reduction, chunk=4)
    loss, metrics = objective(outputs, batch, KEY)
    scores = slow_scores(
        *map(np.asarray, (outputs.video.group_embedding, outputs.noun_embedding, batch["noun_mask"])), 0.3
    )
    exists = np.array([True, True, False, False, True, True])  # the third has no phrase, the fourth did not decode
    np.testing.assert_allclose(loss, factor * sum(slow_info_nce(scores / 0.1, exists, exists)), rtol=1e-5)
    rows = [i for i in range(6) if exists[i]]
    hits = [max(rows, key=lambda j: scores[i, j]) == i for i in rows]
    np.testing.assert_allclose(metrics["accuracy"], np.mean(hits), rtol=1e-6)


def test_spatial_grounding_without_any_phrase_is_zero_with_finite_gradients(made):
    outputs, batch = made
    batch = {**batch, "noun_mask": jnp.zeros((6, 2), bool)}

    def loss(nouns, groups):
        video = dataclasses.replace(outputs.video, group_embedding=groups)
        return SpatialGrounding()(dataclasses.replace(outputs, noun_embedding=nouns, video=video), batch, KEY)[0]

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(
        jnp.zeros_like(outputs.noun_embedding), outputs.video.group_embedding
    )
    assert value == 0
    assert all(np.isfinite(g).all() for g in gradients)


def test_global_contrast(made):
    outputs, batch = made
    scores = 10.0 * np.asarray(outputs.video.embedding) @ np.asarray(outputs.text_embedding).T
    valid = np.asarray(batch["valid"])
    loss, _ = GlobalContrast()(outputs, batch, KEY)
    np.testing.assert_allclose(loss, sum(slow_info_nce(scores, valid, valid)) / 2, rtol=1e-5)
    sigmoid, _ = GlobalContrast(kind="sigmoid", bias=-2.0)(outputs, batch, KEY)
    expected = sum(
        math.log(1 + math.exp(-(1 if i == j else -1) * (scores[i, j] - 2.0)))
        for i in range(6)
        for j in range(6)
        if valid[i] and valid[j]
    )
    np.testing.assert_allclose(sigmoid, expected / valid.sum(), rtol=1e-5)


def slow_foreground(tokens, mask, temperature, leave_out=False):
    z = tokens.mean(axis=2)
    result = np.zeros(mask.shape)
    for b in range(len(z)):
        for j in range(z.shape[1]):
            cosines = []
            for side in (False, True):
                members = [z[b, i] for i in range(z.shape[1]) if mask[b, i] == side and not (leave_out and i == j)]
                c = np.mean(members, axis=0) if members else None
                near = 0.0 if c is None else np.dot(z[b, j], c) / np.linalg.norm(z[b, j]) / np.linalg.norm(c)
                cosines.append(near)
            weights = np.exp(np.array(cosines) / temperature)
            result[b, j] = weights[1] / weights.sum()
    return result


def test_temporal_grouping(made):
    outputs, batch = made
    rows = np.asarray(batch["spliced"])
    tokens, mask = np.asarray(outputs.video.tokens)[rows], np.asarray(batch["splice_mask"])[rows]
    a = slow_foreground(tokens, mask, 0.2)
    both = np.stack([1 - a, a], -1)  # a_j over (background, foreground)
    onehot = np.stack([~mask, mask], -1).astype(float)
    mse, metrics = TemporalGrouping(temperature=0.2)(outputs, batch, KEY)
    np.testing.assert_allclose(mse, ((both - onehot) ** 2).mean(), rtol=1e-4)
    bce, _ = TemporalGrouping(temperature=0.2, loss="bce")(outputs, batch, KEY)
    np.testing.assert_allclose(bce, -np.log(np.where(mask, a, 1 - a)).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["accuracy"], ((a > 0.5) == mask).mean(), rtol=1e-6)


def test_temporal_grouping_of_embeddings(made):
    outputs, batch = made
    embedding = np.random.default_rng(5).normal(size=(6, 4, 5)).astype(np.float32)
    outputs = dataclasses.replace(outputs, video=dataclasses.replace(outputs.video, time_embedding=embedding))
    rows, masks = np.asarray(batch["spliced"]), np.asarray(batch["splice_mask"])
    a = slow_foreground(embedding[rows][:, :, None], masks[rows], 0.2)
    objective = TemporalGrouping(temperature=0.2, read="embedding")
    assert objective.READS == ("video.time_embedding",)
    np.testing.assert_allclose(objective(outputs, batch, KEY)[0], ((a - masks[rows]) ** 2).mean(), rtol=1e-4)


def test_temporal_grouping_measures_what_the_index_alone_earns(made):
    outputs, batch = made
    span = jnp.array([[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1]], bool)
    batch = {**batch, "spliced": jnp.array([True, True, False, False, False, True]), "splice_span": span}
    _, metrics = TemporalGrouping(temperature=0.2)(outputs, batch, KEY)
    whole = [2, 4]  # row 3 is not valid
    tokens, spans = np.asarray(outputs.video.tokens)[whole], np.asarray(span)[whole]
    expected = ((slow_foreground(tokens, spans, 0.2) > 0.5) == spans).mean()
    np.testing.assert_allclose(metrics["accuracy_index_only"], expected, rtol=1e-6)
    everything = {**batch, "spliced": batch["valid"]}
    assert TemporalGrouping()(outputs, everything, KEY)[1]["accuracy_index_only"] == -1


def test_temporal_grouping_against_other_time_indices_only(made):
    outputs, batch = made
    rows = np.asarray(batch["spliced"])
    tokens, mask = np.asarray(outputs.video.tokens)[rows], np.asarray(batch["splice_mask"])[rows]
    a = slow_foreground(tokens, mask, 0.2, leave_out=True)
    mse, _ = TemporalGrouping(temperature=0.2, centers="others")(outputs, batch, KEY)
    np.testing.assert_allclose(mse, ((a - mask) ** 2).mean(), rtol=1e-4)


def test_temporal_grouping_without_what_clips_have_in_common(made):
    outputs, batch = made
    batch = {**batch, "valid": jnp.array([True, True, False, True, True, True])}
    tokens, valid = np.asarray(outputs.video.tokens), np.asarray(batch["valid"])
    common = sum(tokens[i].mean(axis=1) for i in range(6) if valid[i]) / 5  # [Nt, D]
    rows = np.asarray(batch["spliced"])
    a = slow_foreground((tokens - common[None, :, None])[rows], np.asarray(batch["splice_mask"])[rows], 0.2, True)
    mse, _ = TemporalGrouping(temperature=0.2, centers="others", centered=True)(outputs, batch, KEY)
    np.testing.assert_allclose(mse, ((a - np.asarray(batch["splice_mask"])[rows]) ** 2).mean(), rtol=1e-4)


def test_tokens_that_know_their_time_index_only_earn_nothing_once_centered():
    """Opposite ends and a middle, alike in every clip: they please the formula, and nothing of them is left."""
    z = jnp.asarray(np.array([[0.1, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.1, -1.0]]), jnp.float32)
    tokens = jnp.broadcast_to(z[None], (4, 5, 2))  # [B, Nt, D]
    mask = jnp.broadcast_to(jnp.array([False, True, True, True, True]), (4, 5))
    assert (foreground_probability(tokens, mask, 0.1, "others")[:, :4] > 0.5).tolist() == mask[:, :4].tolist()
    common = common_tokens(tokens, jnp.ones(4, bool))
    np.testing.assert_allclose(foreground_probability(tokens, mask, 0.1, "others", common), 0.5, atol=1e-6)
    assert np.isfinite(common_tokens(tokens, jnp.zeros(4, bool))).all()


def test_time_indices_that_know_nothing_of_scenes_please_the_formula_as_it_stands_alone():
    """z_j at right angles: each is close to a center that holds it, and only leaving it out shows what is known."""
    tokens = jnp.eye(6)[None]  # [B, Nt, D]
    mask = jnp.arange(6)[None] < 4
    assert ((foreground_probability(tokens, mask, 0.1) > 0.9) == mask).all()
    np.testing.assert_allclose(foreground_probability(tokens, mask, 0.1, "others"), 0.5, atol=1e-6)


def test_four_time_indices_can_be_told_apart_without_looking():
    """Why clips need five: of four, the first or the last is the background, and opposite vectors fit both."""
    side, middle = np.array([0.1, 1.0]), np.array([1.0, 0.0])
    z = np.stack([side, middle, middle, side * [1, -1]])
    tokens = jnp.asarray(z, jnp.float32)[None]  # [B, Nt, D]
    for mask in ([True, True, True, False], [False, True, True, True]):
        probability = foreground_probability(tokens, jnp.array([mask]), 0.1, "others")
        assert ((probability > 0.5) == jnp.array([mask])).all()


def test_rows_that_were_not_spliced_cost_nothing_and_have_finite_gradients(made):
    outputs, batch = made
    none = {**batch, "splice_mask": jnp.ones((6, 4), bool), "spliced": jnp.zeros(6, bool)}

    def loss(tokens):
        video = dataclasses.replace(outputs.video, tokens=tokens)
        return TemporalGrouping()(dataclasses.replace(outputs, video=video), none, KEY)[0]

    value, gradient = jax.value_and_grad(loss)(outputs.video.tokens)
    assert value == 0
    assert np.isfinite(gradient).all()
    for centers in ("all", "others"):
        probability = foreground_probability(jnp.zeros((2, 4, 8)), jnp.ones((2, 4), bool), 0.1, centers)
        assert np.isfinite(probability).all()


def test_total_is_the_weighted_sum(made):
    outputs, batch = made
    table = {
        "global_contrast": {"weight": 2.0},
        "temporal_grouping": {"weight": 0.5},
        "spatial_grounding": {"weight": 0.0},
    }
    objectives = build_objectives(table, tiny_config())
    assert set(objectives) == {"global_contrast", "temporal_grouping"}
    total, metrics = total_loss(objectives, outputs, batch, KEY)
    expected = 2 * metrics["loss/global_contrast"] + 0.5 * metrics["loss/temporal_grouping"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"global_contrst": {}}, "did you mean 'global_contrast'"),
        ({"global_contrast": {"wieght": 1.0}}, "did you mean 'weight'"),
        ({"global_contrast": {"weight": "1"}}, "weight='1': expected a number"),
        ({"global_contrast": {"kind": "sigmoids"}}, "did you mean 'sigmoid'"),
        ({"temporal_grouping": {}}, "splice.enabled"),
        ({}, "name at least one"),
    ],
)
def test_mistakes_in_the_table_are_named(table, message):
    with pytest.raises(ConfigError, match=message):
        build_objectives(table, tiny_config(**{"splice.enabled": False}))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("classification", {}, "needs a head .* config.task is 'video_text'"),
        ("multilevel_alignment", {}, "needs timed sentences.* config.input.num_sentences is 0"),
        (
            "multilevel_alignment",
            {"input.num_sentences": 2, "model.clip_pool": "groups"},
            "config.model.clip_pool=tokens",
        ),
        ("localization", {}, "config.task=localization"),
        ("global_contrast", {"task": "question_answering"}, "config.task=video_text"),
    ],
)
def test_an_objective_that_finds_nothing_to_read_is_refused(name, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_objectives({name: {}}, tiny_config(**changes))
