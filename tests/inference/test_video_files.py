"""Tests of listing the videos to embed."""

import os

import pytest

from svilm_jax.inference.video_files import EmbeddingError, list_videos
from svilm_jax.video.folders import NO_TARGET, NOT_UTF8, SkippedVideo


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.mp4", "w"):  # noqa: PTH123 (a path of bytes)
        pass
    left_out = SkippedVideo()
    assert [video.path for video in list_videos([tmp_path], left_out)] == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4"]
    assert left_out.files == [(f"{tmp_path}/caf\\xe9.mp4", NOT_UTF8), (f"{tmp_path}/gone.mp4", NO_TARGET)]


def test_a_folder_with_nothing_usable_says_why(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    with pytest.raises(EmbeddingError, match=r"no video below this folder.*left out: .*gone\.mp4: a link to a file"):
        list_videos([tmp_path])
