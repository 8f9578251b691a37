"""Tests of HowTo100M: all transcript formats agree, whole and in segments, and errors name the broken file."""

import argparse
import json
import tracemalloc
import zipfile

import pytest
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.datasets.howto100m import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.cli.prepare import add_arguments, run
from svilm_jax.input.records import open_records
from svilm_jax.video.decoding import probe
from tests.data.weird_videos import write_video

SAID = {
    "aaaaaaaaaaa": {"start": [0.0, 1.25, 2], "end": [1.5, 2.0, 3.5], "text": ["take the egg", "break it", "and stir"]},
    "bbbbbbbbbbb": {"start": [0.5, 3.0], "end": [1.0, 3.0], "text": ["hello", "nothing"]},
    "ccccccccccc": {"start": [], "end": [], "text": []},
}
LIST = "video_id,category_1,category_2,rank,task_id\naaaaaaaaaaa,Food,Eggs,1,2\nbbbbbbbbbbb,Pets,Cats,1,3\n"


def read(folder, captions="", segment_seconds=0, category=()):
    args = argparse.Namespace(captions=captions, segment_seconds=segment_seconds, category=list(category))
    return DATASET.read(OfficialFiles(folder), args)


def write(folder, form):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "HowTo100M_v1.csv").write_text(LIST)
    if form == "csv":
        for video, said in SAID.items():
            rows = zip(said["start"], said["end"], said["text"], strict=True)
            lines = [f"{k},{s},{e},{t}" for k, (s, e, t) in enumerate(rows)]
            (folder / f"{video}.csv").write_text("\n".join([",start,end,text", *lines]) + "\n")
    elif form == "zip":
        with zipfile.ZipFile(folder / "HowTo100M.zip", "w") as archive:
            archive.writestr("HowTo100M/caption.json", json.dumps(SAID))
    else:
        (folder / form).write_text(json.dumps(SAID))
    return folder


@pytest.mark.parametrize("form", ["caption.json", "raw_caption.json", "zip", "csv"])
def test_all_forms_say_the_same(tmp_path, form):
    annotated = read(write(tmp_path, form))
    one, two = annotated.splits["train"]
    assert (one.record.id, one.record.group, one.names, one.window) == ("aaaaaaaaaaa", "", ("aaaaaaaaaaa",), None)
    said = [(c.text, c.start, c.end) for c in one.record.captions]
    assert said == [("take the egg", 0, 1.5), ("break it", 1.25, 2), ("and stir", 2, 3.5)]
    assert [c.text for c in two.record.captions] == ["hello"]
    assert {what: fact.count for what, fact in annotated.counts.items()} == {"captions": 4, "videos": 2}
    assert list(annotated.notes) == ["captions that end before they start"]


def test_unshortened_captions_come_first_and_a_category_chooses(tmp_path):
    write(tmp_path, "caption.json")
    (tmp_path / "raw_caption.json").write_text('{"bbbbbbbbbbb": {"start": [1], "end": [2], "text": ["hello you"]}}')
    assert [w.record.captions[0].text for w in read(tmp_path).splits["train"]] == ["hello you"]
    assert len(read(tmp_path, captions="processed").splits["train"]) == 2
    assert [w.record.id for w in read(tmp_path, "processed", category=["Food"]).splits["train"]] == ["aaaaaaaaaaa"]
    with pytest.raises(PreparationError, match=r"--category 'Cars': .*HowTo100M_v1\.csv has Food, Pets"):
        read(tmp_path, category=["Cars"])
    with pytest.raises(PreparationError, match="no narrations: expected <video id>.csv"):
        read(tmp_path, captions="csv")


def test_pieces(tmp_path):
    pieces = list(read(write(tmp_path, "caption.json"), segment_seconds=2).splits["train"])
    told = [(p.record.id, p.window, [(c.text, c.start, c.end) for c in p.record.captions]) for p in pieces]
    assert told == [
        ("aaaaaaaaaaa_0_2000000", (0, 2), [("take the egg", 0, 1.5), ("break it", 1.25, 2)]),
        ("aaaaaaaaaaa_2000000_4000000", (2, 4), [("and stir", 0, 1.5)]),
        ("bbbbbbbbbbb_0_2000000", (0, 2), [("hello", 0.5, 1.0)]),
    ]
    assert {p.record.group for p in pieces} == {"aaaaaaaaaaa", "bbbbbbbbbbb"}
    with pytest.raises(PreparationError, match="--segment-seconds -1"):
        read(tmp_path, segment_seconds=-1)


def test_from_the_command_line(tmp_path):
    write_video(tmp_path / "videos" / "aaaaaaaaaaa.mp4", times=[i / 8 for i in range(24)])
    write(tmp_path / "downloads", "caption.json")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    where = ["--annotations", str(tmp_path / "downloads"), "--videos", str(tmp_path / "videos"), "--out", str(tmp_path)]
    run(parser.parse_args(["howto100m", *where, "--max-skipped-fraction", "0.5", "--segment-seconds", "2"]))
    source = open_records(tmp_path / "howto100m", "train")
    assert [source[i].id.partition("_")[2] for i in range(len(source))] == ["0_2000000", "2000000_4000000"]
    assert probe(source[0].video).duration == pytest.approx(2, abs=0.01)
    assert probe(source[1].video).duration == pytest.approx(1, abs=0.01)  # cut short where the video ends
    assert [p for c in source[0].captions for p in c.phrases][0] == "the egg"
    options = json.loads((tmp_path / "howto100m" / "preparation.json").read_text())["options"]
    assert options["segment_seconds"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON"),
        ("[1]", "no video; expected"),
        ("{}", "no video; expected"),
        ('{"a": 3}', "video 'a', field 'start': missing"),
        ('{"a": {"start": 1, "end": [], "text": []}}', "video 'a', field 'start': expected list, got 1"),
        ('{"a": {"start": [1], "end": [], "text": []}}', "video 'a': 1 starts, 0 ends and 0 texts"),
        ('{"a": {"start": ["1"], "end": [2], "text": [""]}}', "field 'start', item 0: expected seconds, got '1'"),
        ('{"a": {"start": [1], "end": [2], "text": [null]}}', "field 'text', item 0: expected a string"),
        ('{"a/b": {"start": [1], "end": [2], "text": ["x"]}}', "expected the id of a video, got 'a/b'"),
        ('{"a": {"start": [1], "end": [2], "text": ["x"', r"caption\.json: expected JSON"),
        ('{"a": {"start": [1], "end": [1], "text": ["x"]}}', "no video has a nonempty narration"),
    ],
)
def test_mistakes_in_json(tmp_path, text, message):
    (tmp_path / "caption.json").write_text(text)
    with pytest.raises(PreparationError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end\n1,2\n", "expected one column 'text'"),
        ("start,end,text\n1,2\n", r"a\.csv: line 2: expected 3 fields"),
        ("start,end,text\n1,b,x\n", r"a\.csv: line 2, field 'end': expected seconds, got 'b'"),
    ],
)
def test_mistakes_in_csv(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(PreparationError, match=message):
        read(tmp_path)


def test_memory_does_not_grow_with_the_file(tmp_path):
    def used(count):
        said = {"start": list(range(20)), "end": list(range(1, 21)), "text": ["some words"] * 20}
        (tmp_path / "caption.json").write_text(json.dumps({f"{i:011d}": said for i in range(count)}))
        tracemalloc.start()
        try:
            table = read(tmp_path, segment_seconds=5).splits["train"]
            assert len(table) == sum(1 for _ in table) == 4 * count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert used(3000) < used(1000) + 100_000  # bytes


def test_half_characters_are_replaced_and_counted(tmp_path):
    text = r'{"a": {"start": [1, 2], "end": [2, 3], "text": ["x \ud83d y", "\ude00 \ud83d\ude00"]}}'
    (tmp_path / "caption.json").write_text(text)
    files = OfficialFiles(tmp_path)
    args = argparse.Namespace(captions="", segment_seconds=0, category=[])
    (wanted,) = DATASET.read(files, args).splits["train"]
    assert [caption.text for caption in wanted.record.captions] == ["x \ufffd y", "\ufffd \U0001f600"]
    assert files.notes() == {
        "text with lone surrogates": "2 texts, the broken part replaced by U+FFFD (first: caption.json)"
    }
