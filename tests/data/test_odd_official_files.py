"""Tests of damaged official files: broken downloads, lone surrogates and endless texts are counted, or one error."""

import gzip
import json
import zipfile

import numpy as np
import pytest
from svilm_data.annotations.caption_lists import CaptionLists
from svilm_data.annotations.caption_times import TimesOutside
from svilm_data.annotations.entries import Entry, read_masks
from svilm_data.annotations.moments import SegmentIssues, sentence, times
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.official_rows import json_lines
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Action, Caption, Record


def test_half_characters_are_replaced_before_anything_else_reads_them(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"\ud83d": ["x \ude00"], "b": "\U0001f600"}))
    (tmp_path / "b.jsonl").write_text('{"desc": "a \\ud83d dog"}\n{"desc": "a\u2028b"}\n', encoding="utf-8")
    files = OfficialFiles(tmp_path)
    assert files.notes() == {}
    assert files.one("a.json", what="a").json() == {"\ufffd": ["x \ufffd"], "b": "\U0001f600"}
    assert [row["desc"] for _, row in json_lines(files.one("b.jsonl", what="b"))] == ["a \ufffd dog", "a\u2028b"]
    assert files.notes()["text with half a character"].startswith(
        "3 texts, the broken part replaced by U+FFFD (first: a"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested deeper than 100 levels"),
        (b'{"a": ' + b"9" * 5000 + b"", "expected JSON"),
        (json.dumps([1]).encode("utf-16"), "UTF-16"),
        (b"<html></html>", "found an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "found a Git LFS pointer"),
    ],
)
def test_documents_that_are_none(tmp_path, content, message):
    for name, data in (("a.json", content), ("b.json.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PreparationError, match=f"{name}: .*{message}") as caught:
            OfficialFiles(tmp_path / name).find("*")[0].json()
        assert "\n" not in str(caught.value)


def test_an_archive_with_a_password_is_refused_in_words(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.json", "[1]")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1  # as encryption sets it
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(PreparationError, match=r"a\.zip:a\.json: cannot be unpacked \(.*password.*unpack it by hand"):
        OfficialFiles(tmp_path).one("a.json", what="a").json()


def test_captions_that_nobody_wrote_are_counted_or_refused():
    lists = CaptionLists()
    for text in ("a dog", "\u200b", "word " * 3000):
        lists.add("a", text)
    assert lists.texts("a") == ["a dog"]
    assert lists.notes(["a"]) == {
        "empty captions": "1 left out",
        "captions of more than 10,000 characters": "1 left out",
    }
    for text, message in (("\ufeff", "expected a sentence"), ("word " * 3000, "got 14,999 characters")):
        with pytest.raises(PreparationError, match=message):
            sentence(text, "f.json: entry 1")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1, True, "1", None, 10**299])
def test_times_that_are_none(value):
    odd = SegmentIssues()
    if value == 10**299:
        assert times([0, value], "f", odd, "train", 5.0) == (0.0, 1e299)
        assert odd.notes()["train: segments that end after the stated duration"]
    else:
        with pytest.raises(PreparationError, match="expected seconds from 0 on"):
            times([0, value], "f", odd, "train", 5.0)


def test_times_outside_the_video_are_counted_by_its_measured_length():
    outside = TimesOutside()
    captions = [Caption("a"), Caption("b", (), 0, 4.3), Caption("c", (), 1, 4.6), Caption("d", (), 4, 5)]
    outside.add(Record("x", b"", tuple(captions), actions=(Action("run", 7, 9), Action("sit"))), 4.0)
    assert outside.notes("train") == {
        "train: times after the end of the video": "2 of 4; kept as they are, and shown by the last frame (first: "
        "caption 4 of x, 4 to 5 s of 4.0 s)",
        "train: times that end after the video": "1 of 4; kept as they are, and shown up to the end (first: caption 3 "
        "of x, 1 to 4.6 s of 4.0 s)",
    }
    outside.add(Record("y", b"", (Caption("e", (), 500, 1500),)), 4.0)
    assert "3 of 5; " in outside.notes("train")["train: times after the end of the video"]
    assert "milliseconds" in outside.notes("train")["train: times after the end of the video"]
    assert TimesOutside().notes("train") == {}


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_damaged_masks_are_one_error(tmp_path, damage):
    np.savez_compressed(tmp_path / "a.npz", masks=np.random.default_rng(0).integers(0, 9, (4, 20, 20)).astype(np.uint8))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    content = {"cut": data[:-40], "flipped": data, "empty": b"", "text": b"no masks"}[damage]
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PreparationError, match=r"a\.npz: no \.npz file with an array 'masks'"):
        read_masks(Entry(Record("a", b""), tmp_path / "a.mp4", tmp_path / "a.npz"), 4)
