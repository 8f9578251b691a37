"""Tests of phrase selection, prompts, padding and masks."""

import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.input.example import choose_caption
from svilm_jax.input.schema import Caption, Record
from svilm_jax.text import prompts
from svilm_jax.text.tokenizers import load_tokenizer

PHRASES = ("a red square", "a floor", "a blue ring")
PROMPT = ("a video of {}",)


def test_evaluation_takes_the_first_and_training_any_in_reading_order():
    assert prompts.choose_phrases(PHRASES, 2, None) == ["a red square", "a floor"]
    rng = np.random.default_rng(0)
    drawn = {tuple(prompts.choose_phrases(PHRASES, 2, rng)) for _ in range(60)}
    assert drawn == {PHRASES[:2], PHRASES[1:], (PHRASES[0], PHRASES[2])}
    assert prompts.choose_phrases(PHRASES[:1], 2, rng) == ["a red square"]


def test_missing_phrases_are_masked_but_not_without_tokens():
    tokenizer = load_tokenizer("builtin:moving_shapes")
    nouns, mask = prompts.encode_phrases(["a red square"], 3, tokenizer, 12, PROMPT)
    assert nouns.shape == (3, 12)
    assert nouns.dtype == np.int32
    assert mask.tolist() == [True, False, False]
    assert mask.dtype == np.bool_
    assert tokenizer.decode(nouns[0]) == "a video of a red square"
    assert tokenizer.mask(nouns).sum(1).tolist() == [8, 2, 2]
    _, none = prompts.encode_phrases([], 2, tokenizer, 12, PROMPT)
    assert not none.any()


def test_prompts_are_drawn_in_training_only():
    tokenizer = load_tokenizer("builtin:moving_shapes")
    templates = ("a video of {}", "there is {}")
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        nouns, _ = prompts.encode_phrases(["a star"], 1, tokenizer, 12, templates, rng)
        seen.add(tokenizer.decode(nouns[0]))
    assert seen == {"a video of a star", "there is a star"}
    nouns, _ = prompts.encode_phrases(["a star"], 1, tokenizer, 12, templates)
    assert tokenizer.decode(nouns[0]) == "a video of a star"


def test_phrases_with_braces_are_text():
    tokenizer = load_tokenizer("builtin:moving_shapes")
    nouns, _ = prompts.encode_phrases(["a {0} star"], 1, tokenizer, 16, PROMPT)
    assert "{ 0 }" in tokenizer.decode(nouns[0])


@pytest.mark.parametrize("templates", [(), ("a video",), ("{} and {}",), ("{0}",), ("{} {x}",)])
def test_prompts_without_one_place_are_refused(templates):
    with pytest.raises(ConfigError, match=r"input\.prompts"):
        prompts.check_prompts(templates)


def test_captions():
    record = Record("r", b"", (Caption("one"), Caption("two")))
    assert choose_caption(record, None) == Caption("one")
    rng = np.random.default_rng(0)
    assert {choose_caption(record, rng).text for _ in range(20)} == {"one", "two"}
    assert choose_caption(Record("r", b""), rng) is None
