"""Tests of the readers of logs in JSON lines, forward and backward."""

import json

import pytest

from svilm_jax.filesystem import log_lines
from svilm_jax.filesystem.log_lines import read_lines, read_lines_backward


@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 16])
def test_backward_is_the_reverse_of_forward(tmp_path, monkeypatch, piece):
    """However the pieces that are read divide the lines."""
    monkeypatch.setattr(log_lines, "_CHUNK_BYTES", piece)
    file = tmp_path / "log"
    file.write_text("".join(json.dumps({"step": step, "name": "ü" * step}) + "\n" for step in range(20)))
    with file.open("a") as log:
        log.write('{"step": 20, "na')  # killed
    assert list(read_lines_backward(file)) == read_lines(file)[::-1]
    assert len(read_lines(file)) == 20


def test_what_is_no_object_is_skipped(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b'\n[1]\n{"a": 1}\n\xff\xfe\n3\n')
    assert list(read_lines_backward(file)) == [{"a": 1}]


def test_a_missing_file_and_an_empty_one_have_no_lines(tmp_path):
    (tmp_path / "empty").touch()
    assert list(read_lines_backward(tmp_path / "missing")) == list(read_lines_backward(tmp_path / "empty")) == []
