"""Tests of the built-in vocabulary on the captions of moving shapes."""

from svilm_data.datasets.moving_shapes import grammar
from svilm_data.datasets.moving_shapes.generator import SPLITS, draw_distinct_group, group_rng
from svilm_data.datasets.moving_shapes.scene import COLORS, TEXTURES

from svilm_jax.text.tokenizers import load_tokenizer


def words_of_grammar():
    words = {*COLORS, *TEXTURES, *grammar.PLACES, "a", "while", "as", "and", "there", "is", "with", "over", "on"}
    words |= {"above", ","}
    for table in (grammar.SHAPE_WORDS, grammar.SIZE_WORDS):
        words |= {word for row in table.values() for word in row}
    return words | {w for row in grammar.VERBS.values() for pair in row for verb in pair for w in verb.split()}


def test_every_word_is_one_token():
    tokenizer = load_tokenizer("builtin:moving_shapes")
    for word in sorted(words_of_grammar()):
        assert len(tokenizer.pieces(word)) == 1, word


def test_captions_come_back_whole():
    tokenizer = load_tokenizer("builtin:moving_shapes")
    for name in ("train", "test"):
        for number in range(10):
            _, told = draw_distinct_group(group_rng(1, name, number), SPLITS[name])
            for text, _ in [pair for texts in told for pair in texts]:
                assert len(tokenizer.pieces(text)) == len(text.replace(",", " ,").split()), text
                assert tokenizer.decode(tokenizer.pieces(text)).replace(" ,", ",") == text


def test_the_words_of_these_tests_are_those_of_the_captions():
    _, told = draw_distinct_group(group_rng(0, "train", 0), SPLITS["train"])
    said = {word for texts in told for text, _ in texts for word in text.replace(",", " ,").split()}
    assert said <= words_of_grammar() | {"an"}
