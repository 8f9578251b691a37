"""Tests of caption cleaning: changed and omitted captions, counted with their first location."""

import pytest
from svilm_data.annotations.captions import text as caption_text
from svilm_data.annotations.captions.text import CaptionCleaner, parse_list, parse_number_list


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['a dog', 'b dog']", ["a dog", "b dog"]),
        ('["a dog", "it\'s b"]', ["a dog", "it's b"]),
        ("['a dog' 'b dog'\n 'c dog']", ["a dog", "b dog", "c dog"]),  # as NumPy prints an array
        ("array(['a dog', 'b dog'], dtype=object)", ["a dog", "b dog"]),
        ("('a dog', 'b dog')", ["a dog", "b dog"]),
        (r"['it\'s a dog', nan]", ["it's a dog", "nan"]),
        ("['a dog',]", ["a dog"]),
        ("('a dog')", None),
        ("[nan]", None),
        ("[music]", None),
        ("[1, 2]", None),
        ("['a dog', ['b dog']]", None),
        ("a dog said 'no'", None),
        ("[" * 5000 + "'", None),
    ],
)
def test_lists_that_were_written_as_text(text, expected):
    assert parse_list(text) == expected


def test_numbers_that_were_written_as_text():
    assert parse_number_list("[[0, 1.5], (2, 4)]") == [[0, 1.5], [2, 4]]
    assert parse_number_list("(0.5, 2)") == [0.5, 2]
    for text in ("soon", "[0, 1", "[" * 10_000):
        assert parse_number_list(text) == text


@pytest.mark.parametrize(
    ("text", "expected", "counted"),
    [
        (" a  dog\n", "a dog", None),
        ("a dog &amp; a cat&#39;s toy&nbsp;", "a dog & a cat's toy", "captions with HTML entities"),
        ("a dog &amp;amp; a cat", "a dog & a cat", "captions with HTML entities"),
        ("R&B; AT&T & co", "R&B; AT&T & co", None),
        ("\u200b\ufeff \u2060", None, "empty captions"),
        ("", None, "empty captions"),
        ("...", None, "captions without a word"),
        ("nan", None, "captions that represent a missing value"),
        ("\U0001f436", "\U0001f436", None),
        ("\u72d7\u5728\u8dd1", "\u72d7\u5728\u8dd1", None),
        ("a <b>dog</b> runs", "a <b>dog</b> runs", "captions with HTML tags"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2", None),
        ("word " * 3000, None, "captions of more than 10,000 characters"),
    ],
)
def test_one_caption(text, expected, counted):
    texts = CaptionCleaner()
    assert texts.clean(text, "a/b/c.csv: line 2") == expected
    assert list(texts.issues.notes()) == ([counted] if counted else [])
    if expected is None:
        assert texts.issues.notes()[counted] == "1, left out (first: c.csv: line 2)"


def test_lists_are_counted():
    texts = CaptionCleaner()
    assert texts.split("['a', 'b']", "c.csv: line 2") == ["a", "b"]
    assert texts.split("[['a'], ['b']]", "c.csv: line 3") == ["[['a'], ['b']]"]
    assert texts.split("plain", "c.csv: line 4") == ["plain"]
    assert texts.issues.notes() == {
        "lists written as text": "1, read as several captions (first: c.csv: line 2)",
        "captions that look like lists": "1, kept as they are (first: c.csv: line 3)",
    }


def test_a_caption_of_a_million_characters_costs_no_time_and_is_left_out():
    texts = CaptionCleaner()
    for text in ("a" * 1_100_000, "['" + "a', '" * 200_000, "&amp;" * 200_000, "<a " * 300_000):
        assert [texts.clean(member, "c") for member in texts.split(text, "c")] == [None]
    assert caption_text.MAX_CHARACTERS == 10_000
