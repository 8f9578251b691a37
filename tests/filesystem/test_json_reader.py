"""Tests of the JSON and JSON lines reader: accepted files, and one error with a position for all others."""

import gzip
import io
import json
import math
import pickle

import numpy as np
import pytest

from svilm_jax.filesystem import json_reader, unicode_repair
from svilm_jax.filesystem.json_reader import JsonError
from svilm_jax.filesystem.unicode_repair import Repairs, repaired

LINES = [{"id": 0, "question": "a\u2028b\u2029c\x85d"}, {"id": 1}]


def test_lines_end_with_a_line_feed_alone(tmp_path):
    """Other separators of Unicode are characters of a string, where JSON has them as they are."""
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in LINES) + "\r\n\n"
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(text.encode()))
    for name in ("a.jsonl", "b.jsonl"):
        where, values = zip(*json_reader.read_lines(tmp_path / name), strict=True)
        assert list(values) == LINES
        assert where == tuple(f"{tmp_path / name}: line {number}" for number in (1, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "f.json: is empty; expected JSON"),
        (b'{"a": ', r"f.json: expected JSON \(.*line 1, column 7\)"),
        (b"{'a': 1}", "expected JSON .Expecting property name enclosed in double quotes"),
        (b'{"a": 1}\n{"b": 2}', "JSON lines are expected in a file named .jsonl"),
        (b'{"a": {"b": 1, "b": 2}}', "the name 'b' occurs twice in one object"),
        (b"[" * 100_000, "nested deeper than 100 levels"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested deeper than 100 levels"),
        ('{"a": 1}'.encode("utf-16"), "is UTF-16 or UTF-32; expected UTF-8"),
        ('{"a": 1}'.encode("utf-16-be"), "is UTF-16 or UTF-32; expected UTF-8"),
        (b'{"a":\n "caf\xe9"}', r"f.json: line 2: expected UTF-8, found byte 0xe9 at column 6"),
        (b"<!doctype html><html><body>404</body></html>", "expected JSON, found an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "found a Git LFS pointer"),
        (b"PK\x03\x04\x14\x00\xff\xfe", "found a ZIP archive"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'", "found a binary file"),
    ],
)
def test_everything_else_is_one_error_with_its_place(content, message):
    with pytest.raises(JsonError, match=message) as caught:
        json_reader.document(io.BytesIO(content), "f.json")
    assert "\n" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason  # noqa: S301


def test_numbers_of_any_length_are_read_and_never_overflow():
    long = json_reader.parse(b'{"a": [' + b"9" * 5000 + b", -" + b"9" * 400 + b", 1e999, NaN, 7]}", "f")["a"]
    assert long[:3] == [math.inf, -math.inf, math.inf]
    assert math.isnan(long[3])
    assert long[4] == 7
    assert all(isinstance(float(value), float) for value in long)


@pytest.mark.parametrize("damage", ["cut", "flipped", "checksum", "header"])
def test_damaged_gzip_files(tmp_path, damage):
    packed = bytearray(gzip.compress(json.dumps(list(range(5000))).encode(), mtime=0))
    if damage == "cut":
        del packed[-30:]
    else:
        packed[{"flipped": len(packed) // 2, "checksum": -6, "header": 2}[damage]] ^= 0xFF
    (tmp_path / "a.json").write_bytes(packed)
    with pytest.raises(JsonError, match=r"a\.json: damaged gzip file \(.*download it again"):
        json_reader.read_document(tmp_path / "a.json")


def test_what_unfolds_to_more_than_fits_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_reader, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(json_reader, "MAX_LINE_BYTES", 1 << 20)
    (tmp_path / "bomb.json").write_bytes(gzip.compress(b" " * (3 << 20)))
    with pytest.raises(JsonError, match=r"bomb\.json: has more than 1 MiB, unpacked"):
        json_reader.read_document(tmp_path / "bomb.json")
    with pytest.raises(JsonError, match=r"bomb\.json: line 1: longer than 1 MiB"):
        list(json_reader.read_lines(tmp_path / "bomb.json"))


@pytest.mark.parametrize("size", [1, 5, 7, 12, 13, 64, 1 << 20])
def test_a_stream_is_repaired_as_a_document_is(size, monkeypatch):
    monkeypatch.setattr(unicode_repair, "_CHUNK_BYTES", size)
    random = np.random.default_rng(0)
    parts = [rb"\ud83d", rb"\ude00", rb"\ud83d\ude00", rb"\\", rb"\n", rb"\u0041", b"ud83d", b"a", b"\xc3\xa9"]
    parts += [rb"\\ud83d"]
    texts = [b"".join(parts[i] for i in random.integers(len(parts), size=random.integers(1, 30))) for _ in range(40)]
    document = b"[" + b",".join(b'"%s"' % text for text in texts) + b"]"
    whole, streamed = Repairs(), Repairs()
    expected = json_reader.parse(document, "a/f.json", repairs=whole)
    mended = io.BufferedReader(unicode_repair.RepairedJson(io.BytesIO(document), streamed, "a/f.json")).read()
    assert json.loads(mended) == expected
    assert streamed.count >= whole.count > 0  # halves and texts
    assert streamed.first == "f.json"


def test_half_characters_are_replaced_and_counted():
    assert repaired("plain \U0001f600") == ("plain \U0001f600", 0)
    assert repaired("\ud83d\ude00") == ("\U0001f600", 0)  # two halves that belong together
    assert repaired("a \ud83d b \udcff") == ("a \ufffd b \ufffd", 2)
    repairs = Repairs()
    text = rb'{"rows": [{"a": "\ud83d\ude00"}, {"a": "x \ud83d y", "\ude00": ["\udc80"]}]}'
    value = json_reader.parse(text, "dir/f.json", repairs=repairs)
    assert value == {"rows": [{"a": "\U0001f600"}, {"a": "x \ufffd y", "\ufffd": ["\ufffd"]}]}
    assert repairs.note() == "3 texts, the broken part replaced by U+FFFD (first: f.json: rows[1].a)"
    assert json_reader.parse(rb'"\ud83d"', "f") == "\ud83d"  # who does not ask for repairs gets what is there
