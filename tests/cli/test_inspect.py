"""Tests of `svilm inspect`: its text and its contact sheet."""

import argparse

import pytest

from svilm_jax.cli import inspect
from svilm_jax.input.records import DatasetError


def arguments(*given) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)
    return parser.parse_args([str(item) for item in given])


def test_summary_and_contact_sheet(moving_shapes, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    inspect.run(arguments(moving_shapes, "--sheet", sheet, "--rows", 4, "--frames", 8, "--size", 48))
    printed = capsys.readouterr().out
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
        assert fact in printed
    assert sheet.stat().st_size > 1000


def test_mistakes(moving_shapes, tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        inspect.run(arguments(tmp_path / "gone"))
    with pytest.raises(DatasetError, match="no split 'tset'"):
        inspect.run(arguments(moving_shapes, "--split", "tset"))
