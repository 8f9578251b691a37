"""Tests of irregular captions: cleaned, counted or left out, and never a traceback."""

import gzip
import json
import random
from pathlib import Path

import pytest
from svilm_data.datasets.captioned_videos import prepare
from svilm_data.datasets.captioned_videos.catalog import open_catalog
from svilm_data.datasets.captioned_videos.rows import read_rows
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.preparation import describe

from svilm_jax.filesystem.unicode_repair import Repairs
from svilm_jax.input.records import open_records
from tests.data.weird_videos import write_video

ROWS = [
    {"video": "a", "caption": "a \ud83d dog"},
    {"video": "a", "caption": "['one dog', 'two dogs']"},
    {"video": "a", "caption": "\u200b"},
    {"video": "a", "caption": "a dog &amp; a cat"},
    {"video": "a", "caption": "word " * 220_000},
    {"video": "a", "caption": "late", "start": 500, "end": 1500},
    {"video": "a", "caption": "cut", "start": 0, "end": 1500},
    {"video": "a", "caption": "within", "start": 0, "end": 1},
]


def test_odd_captions_are_counted_in_the_summary(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", size=(32, 32))
    (tmp_path / "c.json").write_text(json.dumps(ROWS))
    made = prepare(tmp_path / "videos", tmp_path / "c.json", tmp_path / "out")
    (record,) = open_records(made, "train")
    texts = ["a \ufffd dog", "one dog", "two dogs", "a dog & a cat", "late", "cut", "within"]
    assert [caption.text for caption in record.captions] == texts
    told = describe(made)
    for line in (
        "text with lone surrogates: 1 texts, the broken part replaced by U+FFFD (first: c.json: [0].caption)",
        "lists written as text: 1, read as several captions (first: c.json: item 2, field 'caption')",
        "empty captions: 1, left out (first: c.json: item 3, field 'caption')",
        "captions with HTML entities: 1, decoded (first: c.json: item 4, field 'caption')",
        "captions of more than 10,000 characters: 1, left out (first: c.json: item 5, field 'caption')",
        "train: times after the end of the video: 1 of 3; kept",
        "train: times that end after the video: 1 of 3; kept, and sampled up to the end (first: caption 6",
    ):
        assert line in told
    assert "milliseconds" not in told  # not most of them


def read(folder, path):
    """Id -> captions, and the notes."""
    repairs = Repairs()
    with open_catalog(folder, Path(":memory:")) as listed:
        listed.add(read_rows(path, repairs), 0.25)
        found = {e.record.id: e.record.captions for split in listed.splits().values() for e in split}
        return found, listed.notes()


def test_one_object_called_json_is_a_row(tmp_path):
    (tmp_path / "c.json").write_text('{"video": "a.mp4", "caption": "a dog", "start": 1, "end": 2}\n')
    found, _ = read(tmp_path, tmp_path / "c.json")
    assert {name: [c.text for c in captions] for name, captions in found.items()} == {"a": ["a dog"]}


def test_missing_times_as_pandas_writes_them(tmp_path):
    (tmp_path / "c.csv").write_text("video,caption,start,end\na,one,nan,nan\na,two,,\na,three,NaN,None\na,four,0,1\n")
    (tmp_path / "c.json").write_text('[{"video": "a", "caption": "one", "start": NaN, "end": null}]')
    times = [[(c.start, c.end) for c in read(tmp_path, tmp_path / name)[0]["a"]] for name in ("c.csv", "c.json")]
    assert times == [[(-1, -1), (-1, -1), (-1, -1), (0, 1)], [(-1, -1)]]
    (tmp_path / "c.csv").write_text("video,caption,start,end\na,one,nan,1\n")
    with pytest.raises(PreparationError, match=r"line 2, field 'start': missing"):
        read(tmp_path, tmp_path / "c.csv")


def test_lists_and_times_as_pandas_writes_them(tmp_path):
    (tmp_path / "c.csv").write_text(
        "video,sentences,timestamps\n"
        """a.mp4,"['one', 'two']","[[0.0, 1.5], [2.0, 3.0]]"\n"""
        """a.mp4,three,"(4.0, 5.0)"\na.mp4,four,\na.mp4,nan,\n"""
    )
    found, notes = read(tmp_path, tmp_path / "c.csv")
    assert [(c.text, c.start, c.end) for c in found["a"]] == [
        ("one", 0.0, 1.5),
        ("two", 2.0, 3.0),
        ("three", 4.0, 5.0),
        ("four", -1.0, -1.0),
    ]
    assert notes["captions that represent a missing value"].startswith("1, left out (first: c.csv: line 5")


SEEDS = {
    ".csv": b"video,caption,start,end\na.mp4,\"a dog, running\",0,1.5\nb.mp4,two cats,,\nsub/c,\"['x', 'y']\",2,3\n",
    ".tsv": b"video\tcaption\tsplit\na.mp4\ta dog\ttrain\nb.mp4\ttwo cats\tval\n",
    ".json": json.dumps(
        {
            "videos": [
                {"video": "a.mp4", "sentences": ["x", "y"], "timestamps": [[0, 1], [1, 2]]},
                {"video": "b", "text": "z"},
            ]
        }
    ).encode(),
    ".jsonl": b'{"video": "a.mp4", "caption": "a dog", "start": 0, "end": 1}\n{"id": 7, "captions": [{"text": "x"}]}\n',
}
PIECES = [b"\x00", b"\\ud83d", "\u2028".encode(), b'"', b"'", b"[" * 300, b"{", b"}", b"]", b"9" * 5000, b"NaN", b"-1"]
PIECES += [b"1e999", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", b"\n", b",", b"\t", b"../", b"x" * 300, b"x" * 140_000]
PIECES += [b"\\u0000", b"true", b"null", b"&#0;", "\u200b".encode(), b'"video": ', b"array(['", b"\\", b"/", b"a.mp4"]


def mutated(number: int) -> tuple[str, bytes]:
    """One of the seeds with a few random changes, and the ending of its name."""
    rng = random.Random(number)
    ending = sorted(SEEDS)[number % len(SEEDS)]
    data = bytearray(SEEDS[ending])
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        how = rng.random()
        if how < 0.6:
            data[place:place] = rng.choice(PIECES)
        elif how < 0.75:
            del data[place : place + rng.randint(1, 9)]
        elif how < 0.85 and data:
            data[min(place, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif how < 0.9:
            data = bytearray(data.decode("utf-8", "replace").encode("utf-16"))
        elif how < 0.95:
            del data[place:]
        else:
            data = bytearray(gzip.compress(bytes(data), mtime=0))
    return ending, bytes(data)


def test_200_mutated_files_are_read_or_refused_in_words(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").touch()
    refused: dict[str, str] = {}
    for number in range(200):
        ending, data = mutated(number)
        path = tmp_path / f"mutant{number}{ending}"
        path.write_bytes(data)
        try:
            found, _ = read(videos, path)
        except PreparationError as error:
            refused[path.name] = str(error)
        else:
            for captions in found.values():
                for caption in captions:
                    assert caption.text.encode("utf-8")
    assert 20 < len(refused) < 180
    for name, told in refused.items():
        assert name in told or "has no row" in told
        assert len(told) < 1000


@pytest.mark.parametrize("ending", sorted(SEEDS))
def test_a_page_instead_of_the_file_is_named(tmp_path, ending):
    path = tmp_path / f"c{ending}"
    path.write_bytes(b"<!DOCTYPE html><html><body>Sign in</body></html>\n")
    with pytest.raises(PreparationError, match=r"expected (CSV|JSON), found an HTML page"):
        read(tmp_path, path)


@pytest.mark.parametrize("content", [b"", b"\n", b"[]", b"{}", b"null", b'""', b"3"])
def test_files_that_hold_nothing(tmp_path, content):
    for ending in SEEDS:
        path = tmp_path / f"c{ending}"
        path.write_bytes(content)
        with pytest.raises(PreparationError):
            read(tmp_path, path)
