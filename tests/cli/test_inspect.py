"""Tests of `svilm inspect`: its text and its contact sheet."""

import argparse
import re

import pytest

from svilm_jax.cli import inspect
from svilm_jax.input.records import DatasetError, open_records
from svilm_jax.text.tokenizers import SPECIAL_TOKENS, WordPieceTokenizer


def arguments(*given) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)
    return parser.parse_args([str(item) for item in given])


def test_what_it_says(moving_shapes, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    inspect.run(arguments(moving_shapes, "--sheet", sheet, "--rows", 4, "--frames", 8, "--size", 48))
    told = capsys.readouterr().out
    for fact in (
        "moving_shapes",
        "train 16",
        "hard_test 8",
        "h264 16",
        "tokens per caption",
        "noun phrases per caption",
        "seconds per video: 2 to 2",
        "captions per clip",
        "width: 64 to 64",
        "videos with fewer frames than the default model.video.num_frames of 32, which the model sees repeated: 16 of 16; "  # noqa: E501
        "frames: 16 (16)",
        str(sheet),
    ):
        assert fact in told
    assert sheet.stat().st_size > 1000


def test_unknown_words_and_cut_captions_are_counted(moving_shapes):
    records = open_records(moving_shapes, "test")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), "a", "is", "over"]
    tokenizer = WordPieceTokenizer("vocab.txt", "\n".join(dict.fromkeys(vocabulary)).encode())
    told = "\n".join(inspect.describe(records, {"test": len(records)}, tokenizer, 8))
    count = sum(len(record.captions) for record in records)
    assert f"captions with a word unknown to the vocabulary: {count} of {count} (100.00%): " in told
    truncated = rf"captions truncated at the default model\.text\.max_length of 32 tokens: [1-9] of {count} "
    assert re.search(truncated, told)


def test_mistakes(moving_shapes, tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        inspect.run(arguments(tmp_path / "gone"))
    with pytest.raises(DatasetError, match="no split 'tset'"):
        inspect.run(arguments(moving_shapes, "--split", "tset"))
