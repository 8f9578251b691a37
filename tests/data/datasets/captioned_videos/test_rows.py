"""Tests of reading annotation files in every common format, with errors that name file, line and field."""

import json

import pytest
from svilm_data.datasets.captioned_videos import fields
from svilm_data.datasets.captioned_videos.rows import read_rows
from svilm_data.pipeline.errors import PreparationError


def read(path):
    """(video, captions) of each row."""
    return [
        (fields.video_name(row.fields, row.where), [text for text, _, _ in fields.captions(row.fields, row.where)])
        for row in read_rows(path)
    ]


WANTED = [("a.mp4", ["one dog"]), ("sub/b.mp4", ["two cats", "cats, two"])]
DOCUMENTS = {
    "list": [{"video": "a.mp4", "caption": "one dog"}, {"video": "sub/b.mp4", "captions": ["two cats", "cats, two"]}],
    "synonyms": [
        {"File-Name": "a.mp4", "text": "one dog"},
        {"id": "sub/b.mp4", "sentences": ["two cats", "cats, two"]},
    ],
    "mapping": {"a.mp4": "one dog", "sub/b.mp4": ["two cats", "cats, two"]},
    "mapping of objects": {"a.mp4": {"caption": "one dog"}, "sub/b.mp4": {"captions": ["two cats", "cats, two"]}},
    "captions as objects": [
        {"video": "a.mp4", "captions": [{"caption": "one dog"}]},
        {"video": "sub/b.mp4", "captions": [{"text": "two cats"}, {"text": "cats, two"}]},
    ],
}
DOCUMENTS["wrapped list"] = {"info": {"year": 2020}, "videos": DOCUMENTS["list"]}
DOCUMENTS["wrapped mapping"] = {"captions": DOCUMENTS["mapping"]}


@pytest.mark.parametrize("form", sorted(DOCUMENTS))
def test_json(tmp_path, form):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(DOCUMENTS[form], indent=1))
    assert read(path) == WANTED


@pytest.mark.parametrize("name", ["captions.jsonl", "captions.ndjson", "captions.json"])
def test_json_lines(tmp_path, name):
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(item) for item in DOCUMENTS["list"]) + "\n\n")
    assert read(path) == WANTED


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "mark"), [("c.csv", ","), ("c.csv", ";"), ("c.tsv", "\t"), ("c.CSV", ",")])
def test_csv(tmp_path, start, end, name, mark):
    lines = [["Video", "Caption", "key"], ["a.mp4", "one dog", "1"], ["sub/b.mp4", '"cats, ""two"""', "2"]]
    path = tmp_path / name
    path.write_bytes(start + (end.join(mark.join(line) for line in lines) + end).encode())
    assert read(path) == [("a.mp4", ["one dog"]), ("sub/b.mp4", ['cats, "two"'])]


def test_a_million_rows_are_read_as_they_come(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("video,caption\na,b\nc\n")  # the third line is wrong, but nobody has asked for it yet
    rows = read_rows(path)
    assert next(rows).fields == {"video": "a", "caption": "b"}
    with pytest.raises(PreparationError, match=r"c\.csv: line 3: 1 fields, but the header has 2"):
        next(rows)


BAD = {
    "names none of the fields.csv": ("key,value\n1,2\n", r"line 1 .*no field for the video"),
    "no caption.csv": ("video,captoin\na,b\n", r"line 1 .*no field for the caption.*did you mean 'caption'"),
    "twice.csv": ("video,video,caption\na,a,b\n", r"line 1: column 'video' occurs twice"),
    "empty.csv": ("", r"line 1: expected a header"),
    "too many.csv": ("video,caption\na,one, two\n", r"line 2: 3 fields, but the header has 2.*double quotes"),
    "old Mac.csv": ("video,caption\ra,b\rc,d\r", r"line 1: .*a carriage return inside a line"),
    "very long.csv": (
        'video,caption\na,"' + "b " * 99_999 + '"\n',
        r"line 2: .*a field of more than 131,072 characters",
    ),
    "open quote.csv": ('video,caption\na,b\nc,"d\n', r"line 3: expected CSV"),
    "after a long field.csv": ('video,caption\na,"b\nb"\nc\n', r"line 4: 1 fields"),
    "no video.csv": ("video,caption\n,b\n", r"line 2, field 'video': ''"),
    "split.csv": ("video,caption,split\na,b,trian\n", r"line 2, field 'split': 'trian': expected train, validation"),
    "times.csv": ("video,caption,start,end\na,b,5,2\n", r"line 2, fields 'start' and 'end': '5' to '2': expected"),
    "words.csv": ("video,caption,start,end\na,b,x,2\n", r"line 2, fields 'start' and 'end'"),
    "one time.csv": ("video,caption,start,end\na,b,5,\n", r"line 2, field 'end': missing"),
    "syntax.json": ('[{"video": "a",\n "caption": }]', r"expected JSON .*line 2, column 13"),
    "number.json": ("3", r"expected a list of objects"),
    "string.json": ('["a"]', r"item 1: 'a': expected an object"),
    "no caption.json": ('[{"video": "a", "caption": "b"}, {"video": "c"}]', r"item 2: no field for the caption"),
    "caption.json": ('[{"video": "a", "caption": 3}]', r"item 1, field 'caption': 3: expected a sentence"),
    "captions.json": ('[{"video": "a", "captions": ["b", 3]}]', r"item 1, field 'captions', caption 2: 3"),
    "video.json": ('[{"video": true, "caption": "b"}]', r"item 1, field 'video': True"),
    "value.json": ('{"a.mp4": 3}', r"video 'a.mp4', field 'captions': 3"),
    "twice.json": ('{"a.mp4": "b", "a.mp4": "c"}', r"'a.mp4' occurs twice in one object"),
    "syntax.jsonl": ('{"video": "a", "caption": "b"}\n{"video"\n', r"line 2: expected JSON"),
    "list.jsonl": ('{"video": "a", "caption": "b"}\n[1]\n', r"line 2: '\[1\]': expected an object"),
    "stamps.json": (
        '[{"video": "a", "sentences": ["b"], "timestamps": [[0, 1], [1, 2]]}]',
        r"'timestamps': expected 1",
    ),
}


def read_everything(path):
    for row in read_rows(path):
        fields.video_name(row.fields, row.where)
        fields.split_name(row.fields, row.where)
        fields.captions(row.fields, row.where)


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_files_are_named_by_line_and_field(tmp_path, name):
    text, message = BAD[name]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(PreparationError, match=message) as caught:
        read_everything(path)
    assert name in str(caught.value)


def test_other_encodings_are_errors(tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes("video,caption\na,caf\u00e9\n".encode("latin-1"))
    with pytest.raises(PreparationError, match=r"c\.csv: line 2: expected UTF-8, found byte 0xe9 at column 6"):
        read(path)
    path.write_bytes("video,caption\na,b\n".encode("utf-16"))
    with pytest.raises(PreparationError, match="is UTF-16 or UTF-32; expected UTF-8"):
        read(path)
    with pytest.raises(PreparationError, match="no such file"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "x.xlsx").touch()
    with pytest.raises(PreparationError, match=r"expected a file ending in \.json"):
        read_rows(tmp_path / "x.xlsx")


def test_times(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(
        json.dumps(
            [
                {"video": "a", "sentences": ["b", "c"], "timestamps": [[0, 1.5], [1, 2]]},
                {"video": "a", "caption": "d", "start": 3, "end": "4.5"},
                {"video": "a", "caption": "e", "start": None, "end": ""},
            ]
        )
    )
    found = [c for row in read_rows(path) for c in fields.captions(row.fields, row.where)]
    assert found == [("b", 0.0, 1.5), ("c", 1.0, 2.0), ("d", 3.0, 4.5), ("e", -1.0, -1.0)]
