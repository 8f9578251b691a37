"""Tests of preparation by Apache Beam: output identical to a local run, and errors of runners."""

import sys

import pytest
from svilm_data.pipeline import beam as beam_module
from svilm_data.pipeline.beam import BeamOptions, BeamWorkers, parse_beam_options
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.cli.prepare import add_arguments, run
from tests.data.pipeline.test_journal import files_of, go
from tests.data.weird_videos import write_video


def halve(number: int) -> float:
    return [number, 1 / (number - 7)]


def test_without_beam(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(PreparationError, match=r"--runner DirectRunner needs Apache Beam .*svilm_jax\[beam\]"):
        BeamWorkers(BeamOptions("DirectRunner"), tmp_path)
    with pytest.raises(PreparationError, match="--beam-option: expected together with --runner"):
        parse_beam_options("", ["--x=y"])
    assert parse_beam_options("", []) is None
    assert parse_beam_options("DirectRunner", ["--x=y"]) == BeamOptions("DirectRunner", ("--x=y",))


@pytest.mark.environment("beam")
def test_the_same_bytes_as_a_local_run(tmp_path, monkeypatch):
    for i in range(12):
        write_video(tmp_path / "raw" / f"{i}.mp4", colors=[(10 * i, 20, 5 * k) for k in range(16)])
    (tmp_path / "raw" / "5.mp4").write_bytes(b"no video")
    monkeypatch.setattr(beam_module, "WAVE", 5)
    one = go(tmp_path / "local", tmp_path / "raw")
    two = go(tmp_path / "beam", tmp_path / "raw", beam=BeamOptions("DirectRunner"))
    assert files_of(one) == files_of(two)
    assert [p.name for p in (tmp_path / "beam").iterdir()] == ["dogs"]


@pytest.mark.environment("beam")
def test_order_and_failure(tmp_path):
    workers = BeamWorkers(BeamOptions("DirectRunner"), tmp_path / "shared")
    assert list(workers.map(halve, iter(range(5)), task="halving")) == [[i, 1 / (i - 7)] for i in range(5)]
    with pytest.raises(PreparationError, match="halving: the pipeline of DirectRunner failed .*division by zero"):
        list(workers.map(halve, range(9), task="halving"))
    assert not (tmp_path / "shared").exists()


@pytest.mark.environment("beam")
def test_wrong_options(tmp_path):
    with pytest.raises(PreparationError, match="--runner NoRunner"):
        BeamWorkers(BeamOptions("NoRunner"), tmp_path)
    with pytest.raises(PreparationError, match="--beam-option --direct_num_workers=many: not an option of Beam"):
        BeamWorkers(BeamOptions("DirectRunner", ("--direct_num_workers=many",)), tmp_path)


@pytest.mark.environment("beam")
def test_from_the_command_line(tmp_path):
    import argparse

    write_video(tmp_path / "videos" / "a.mp4")
    (tmp_path / "captions.csv").write_text("video,caption\na,a brown dog\n")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    where = ["--videos", str(tmp_path / "videos"), "--captions", str(tmp_path / "captions.csv"), "--out"]
    runner = ["--runner", "DirectRunner", "--beam-option=--direct_num_workers=1"]
    for out, more in (("local", []), ("beam", runner)):
        run(parser.parse_args(["captioned_videos", *where, str(tmp_path / out), *more]))
    assert files_of(tmp_path / "local") == files_of(tmp_path / "beam")
