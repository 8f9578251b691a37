"""Tests of the whole model: optional texts, sentences, temporal indices, heads, and their cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import ConfigError
from svilm_jax.models.normalization import normalize
from svilm_jax.models.parameters import abstract_model, bind, parameters
from svilm_jax.models.svilm import build_model
from svilm_jax.profiling.model_flops import task_flops, text_flops, train_flops
from tests.tiny import tiny_config

VOCAB, PAD = 50, 0
SMALL = {"model.video.num_layers": 1, "model.grouping.after_layers": (1,), "model.attention": "xla"}
ANSWERS = tuple("abcdef")


def with_head(task, classes=ANSWERS, **changes):
    return tiny_config(task=task, **{"model.head.classes": classes}, **SMALL, **changes)


def made(config):
    """(run, shapes) of a model with random parameters: what its method gives for keyword arguments."""
    graphdef, abstract = abstract_model(config, VOCAB)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape) * 0.3), nnx.to_pure_dict(abstract))

    def call(params, given, method="__call__"):
        return getattr(bind(graphdef, abstract, params), method)(**given)

    compiled = jax.jit(call, static_argnames="method")
    return (
        lambda method="__call__", **given: compiled(params, given, method=method),
        lambda **given: jax.eval_shape(call, params, given),
    )


@pytest.fixture(scope="module")
def towers():
    return made(tiny_config(**SMALL))


@pytest.fixture(scope="module")
def answering():
    return made(with_head("question_answering"))


@pytest.fixture(scope="module")
def batch():
    """Three clips; texts of 8 tokens; up to three sentences: 3, 1 and none."""
    rng = np.random.default_rng(0)
    text, sentences = rng.integers(1, VOCAB, (3, 8)), rng.integers(1, VOCAB, (3, 3, 8))
    text[:, 6:], sentences[:, :, 5:] = PAD, PAD
    sentences[1, 1:], sentences[2] = PAD, PAD
    video = jnp.asarray(rng.integers(0, 256, (3, 8, 16, 16, 3), np.uint8))
    text, sentences = jnp.asarray(text, jnp.int32), jnp.asarray(sentences, jnp.int32)
    return {
        "video": video,
        "text": text,
        "text_mask": text != PAD,
        "sentences": sentences,
        "sentences_mask": sentences != PAD,
    }


def of(batch, *names):
    """The arrays of these names with their masks."""
    return {key: array for key, array in batch.items() if key.removesuffix("_mask") in names}


@pytest.fixture(scope="module")
def told(answering, batch):
    """The outputs for clips with questions and sentences, and the embedding of every sentence alone [3, 3, C]."""
    run, _ = answering
    rows, masks = (batch[name].reshape(9, 8) for name in ("sentences", "sentences_mask"))
    alone = run("encode_text", tokens=rows, mask=masks)
    return run(**of(batch, "video", "text", "sentences")), np.asarray(alone).reshape(3, 3, -1)


def test_what_is_not_given_is_none(towers, answering, batch):
    _, shapes = towers
    alone = shapes(**of(batch, "video"))
    assert alone.text_embedding is alone.noun_embedding is alone.sentence_embedding is alone.scores is None
    both = shapes(**of(batch, "video", "text"))
    assert both.noun_embedding is both.sentence_embedding is both.scores is None
    assert both.text_embedding.shape == (3, 16)
    _, shapes = answering
    assert shapes(**of(batch, "video")).scores is None
    asked = shapes(**of(batch, "video", "text"))
    assert asked.scores.shape == (3, len(ANSWERS))
    assert asked.text_embedding is None  # a question does not say what is seen


def test_the_mean_of_time_embeddings_is_the_clips_embedding(told):
    video = told[0].video
    assert video.time_embedding.shape == (3, 4, 16)
    assert video.time_embedding.dtype == jnp.float32
    np.testing.assert_allclose(normalize(video.time_embedding.mean(axis=1)), video.embedding, atol=1e-5)
    assert np.ptp(np.asarray(video.time_embedding), axis=1).max() > 1e-2  # or the mean would say nothing


@pytest.mark.parametrize("pool", ["groups", "both"])
def test_other_pools_have_no_time_embedding(pool, batch):
    _, shapes = made(tiny_config(**SMALL, **{"model.clip_pool": pool}))
    assert shapes(video=batch["video"]).video.time_embedding is None


def test_sentences_are_encoded_one_by_one_and_their_mean_stands_for_the_text(told):
    seen, alone = told
    np.testing.assert_allclose(seen.sentence_embedding, alone, atol=1e-5)
    mean = alone[0].mean(axis=0)
    np.testing.assert_allclose(seen.text_embedding[0], mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_allclose(seen.text_embedding[1], alone[1, 0], atol=1e-5)
    np.testing.assert_array_equal(seen.text_embedding[2], 0)  # nothing was said
    assert np.abs(alone[0] - mean).max() > 1e-2


def test_a_text_goes_before_the_mean_of_sentences(towers, batch):
    run, _ = towers
    seen = run(**of(batch, "video", "text", "sentences"))
    expected = run("encode_text", tokens=batch["text"], mask=batch["text_mask"])
    np.testing.assert_allclose(seen.text_embedding, expected, atol=1e-5)
    assert seen.sentence_embedding is not None


def test_a_question_is_answered_and_its_padding_is_not_read(answering, told, batch):
    run, _ = answering
    seen, _ = told

    def ask(text, mask):
        return np.asarray(run("encode_question", video=seen.video, tokens=text, mask=mask))

    text, mask = batch["text"], batch["text_mask"]
    np.testing.assert_allclose(ask(text, mask), seen.scores, atol=1e-4)
    assert (np.abs(ask(text.at[:, 2].set(7), mask) - seen.scores).max(axis=1) > 1e-3).all()
    longer = [jnp.pad(x, ((0, 0), (0, 4))) for x in (text, mask)]
    np.testing.assert_allclose(ask(*longer), seen.scores, atol=1e-4)


def test_classes_are_scored_from_the_tokens_of_the_clip(batch):
    run, _ = made(with_head("action_recognition"))
    seen = run(video=batch["video"])
    assert seen.text_embedding is None
    assert seen.scores.shape == (3, len(ANSWERS))
    np.testing.assert_allclose(seen.scores, run("head", tokens=seen.video.tokens), atol=1e-4)
    assert np.ptp(np.asarray(seen.scores), axis=0).min() > 1e-2  # other clips, other scores


def test_a_head_without_classes_is_refused():
    with pytest.raises(
        ConfigError, match=r"classes=\(\): config\.task='action_recognition' needs those of the dataset"
    ):
        abstract_model(with_head("action_recognition", ()), VOCAB)


@pytest.mark.parametrize("task", ["question_answering", "action_recognition"])
def test_a_head_has_as_many_scores_as_classes(task):
    for count in (2, 5):
        params = jax.eval_shape(lambda count=count: parameters(build_model(with_head(task, ANSWERS[:count]), VOCAB)))
        assert params["head"]["out"]["kernel"].shape == (16, count)


def test_an_unknown_task_is_named():
    with pytest.raises(ConfigError, match="did you mean 'localization'"):
        build_model(tiny_config(task="localizatoin"), VOCAB)


@pytest.mark.parametrize(
    ("changes", "nouns", "sentences"),
    [
        ({}, 2, 1),
        ({"input.num_sentences": 4}, 2, 5),  # a caption, and the sentences that are aligned
        ({"input.text": "sentences", "input.num_sentences": 4}, 2, 4),
        ({"input.text": "paragraph"}, 2, 1),
        ({"task": "question_answering"}, 0, 1),
        ({"task": "question_answering", "input.text": "sentences", "input.num_sentences": 4}, 0, 5),
        ({"task": "action_recognition"}, 0, 0),
    ],
)
def test_the_arithmetic_of_a_task_counts_the_texts_that_are_encoded(changes, nouns, sentences):
    config = tiny_config(**changes)
    model = config.model
    silent = train_flops(model, 0, 0)
    texts = sentences * text_flops(model, model.text.max_length) + nouns * text_flops(model, model.text.phrase_length)
    assert task_flops(config) == pytest.approx(silent + 3 * texts)
    assert task_flops(tiny_config(task="localization")) == 0
