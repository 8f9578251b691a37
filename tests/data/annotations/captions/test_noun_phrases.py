"""Tests of noun-phrase extraction on known sentences."""

import sys

import pytest
from svilm_data.annotations.captions import noun_phrases as module
from svilm_data.annotations.captions.noun_phrases import noun_phrases
from svilm_data.pipeline.errors import PreparationError


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("A lion climbing a tree to catch a monkey.", ("A lion", "a tree", "a monkey")),
        ("a rabbit is eating a watermelon", ("a rabbit", "a watermelon")),
        ("a child is riding on a scooter as the dog walks", ("a child", "a scooter", "the dog")),
        ("it rains", ()),
        ("he shows this to someone", ()),
        ("", ()),
    ],
)
def test_known_sentences(caption, phrases):
    assert noun_phrases([caption]) == {caption: phrases}


def test_phrases_stand_in_the_caption_in_reading_order():
    captions = ["a man in a red shirt throws two balls to his dog", "the chef's  knife cuts an onion"]
    for caption, phrases in noun_phrases(captions * 2).items():
        places = [caption.index(phrase) for phrase in phrases]
        assert len(phrases) >= 2
        assert places == sorted(places)


def test_a_missing_parser_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    module._parser.cache_clear()
    try:
        with pytest.raises(PreparationError, match=r"pip install 'svilm_jax\[spacy\]'"):
            noun_phrases(["a dog"])
    finally:
        module._parser.cache_clear()
