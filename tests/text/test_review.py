"""Tests of the text review: what the model does not understand is reported, and no text leads to a traceback."""

from pathlib import Path

import pytest
from svilm_data.annotations.entries import Entry
from svilm_data.pipeline.vocabulary import coverage_note

from svilm_jax.input.schema import Caption, Record
from svilm_jax.text.review import TextReview, is_unknown, review_text
from svilm_jax.text.tokenizers import SPECIAL_TOKENS, WordPieceTokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("builtin:moving_shapes")


def test_what_is_understood_needs_no_note(tokenizer):
    assert review_text(tokenizer, "a small red square is sliding left", 32).notes == ()


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("a red xyzzy", ["not in the model's vocabulary: 'xyzzy'"]),
        ("qwz xyzzy", ["no word is in the model's vocabulary ('qwz', 'xyzzy'): results are meaningless"]),
        ("\u72d7 red", ["not in the model's vocabulary: '\u72d7'"]),
        ("red " * 8000, ["the text has 8,000 word pieces, of which the model reads the first 30"]),
        ("a \ud83d red", ["1 broken characters were left out"]),
        ("\u200b", ["the text contains no word: results are meaningless"]),
        ("", ["the text contains no word: results are meaningless"]),
        (
            " ".join(f"qx{letter}" for letter in "abcdefg"),
            [
                "no word is in the model's vocabulary ('qxa', 'qxb', 'qxc', 'qxd', 'qxe' and 2 more): results are "
                "meaningless"
            ],
        ),
    ],
)
def test_what_is_not_understood_is_said(tokenizer, text, notes):
    assert list(review_text(tokenizer, text, 32).notes) == notes


def test_words_that_are_made_of_larger_pieces_are_known():
    vocabulary = [*SPECIAL_TOKENS, *"skatebordingxyz", *(f"##{c}" for c in "skatebordingxyz"), "skate", "##boarding"]
    tokenizer = WordPieceTokenizer("vocab.txt", "\n".join(vocabulary).encode())
    assert not is_unknown(tokenizer, "skateboarding")
    assert is_unknown(tokenizer, "xyzyx")
    assert is_unknown(tokenizer, "w")  # which is no piece
    assert not is_unknown(tokenizer, "x")


def test_half_characters_are_tokenized(tokenizer):
    assert tokenizer.pieces("a \ud83d red\udc80") == tokenizer.pieces("a red")
    assert tokenizer.encode(["\ud83d"], 4).tolist() == [[tokenizer.first_id, tokenizer.end_id, 0, 0]]
    assert review_text(tokenizer, "\ud83d", 8) == TextReview(1, (), 0, 0, 1)


def test_coverage_note_of_a_given_vocabulary(tokenizer):
    records = [
        Record(str(number), b"", (Caption(text),)) for number, text in enumerate(("a red xyzzy", "a red square"))
    ]
    checked = {"train": [(Entry(record, Path("a.mp4")), Path("a.mp4"), 0) for record in records]}
    note = coverage_note(tokenizer, checked)
    assert note == "; 1 of 2 captions have an out-of-vocabulary word (most often 'xyzzy')"
    assert coverage_note(tokenizer, {"train": checked["train"][1:]}) == ""
