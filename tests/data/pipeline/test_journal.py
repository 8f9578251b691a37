"""Tests of resuming an interrupted preparation, with output identical to an uninterrupted one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from svilm_data.annotations.captions import phrase_extraction
from svilm_data.pipeline import video_checks
from svilm_data.pipeline.journal import JobResult, Journal
from svilm_data.pipeline.preparation import EncodingOptions, Entry, Plan, prepare

from svilm_jax.input.schema import Caption, Record
from tests.data.weird_videos import write_video

COUNT = 12

# Slowed down, so that there is a half-way; what is worked on is written down.
SCRIPT = """
import sys, time
from pathlib import Path
from svilm_data.annotations.captions import phrase_extraction
from svilm_data.pipeline import preparation, video_checks
from tests.data.pipeline.test_journal import go

out, log, pause = Path(sys.argv[1]), Path(sys.argv[2]).open("a", buffering=1), float(sys.argv[3])
real_check = video_checks.check_file
phrase_extraction.CHUNK = 4

def check_file(job):
    time.sleep(pause)
    log.write(f"{job.source.name}\\n")
    return real_check(job)

def phrase_lists(texts):
    time.sleep(pause)
    log.write(f"{len(texts)} texts\\n")
    return [text.split() for text in texts]  # the parser takes seconds to load

video_checks.check_file, phrase_extraction.phrase_lists = check_file, phrase_lists
preparation.parser_versions = phrase_extraction.parser_versions = dict
go(out, out.parent / "raw")
"""


def go(out, raw, **changes):
    entries = [
        Entry(
            Record(id=f"clip{i}", video=b"", captions=(Caption(f"a brown dog chases cat {i}"),)),
            raw / f"{i}.mp4",
            window=(0.5, 1.5) if i % 3 == 0 else None,
        )
        for i in range(COUNT)
    ]
    plan = {"name": "dogs", "out": out, "options": {}, "command": "", "workers": 1, "max_skipped_fraction": 0.5}
    return prepare(Plan(**(plan | {"encoding": EncodingOptions(fps=4)} | changes)), {"train": entries})


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def raw(tmp_path):
    for i in range(COUNT):
        write_video(tmp_path / "raw" / f"{i}.mp4", colors=[(10 * i, 20, 5 * k) for k in range(16)])
    (tmp_path / "raw" / "5.mp4").write_bytes(b"no video")
    return tmp_path / "raw"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_goes_on_where_it_was_stopped(tmp_path, raw, how):
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(SCRIPT)

    def start(out, pause):
        environment = dict(os.environ, PYTHONPATH=str(Path.cwd()))
        command = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"]
        command[-1] += "exec(open('script.py').read())"
        return subprocess.Popen([*command, str(out), str(log), str(pause)], cwd=tmp_path, env=environment)

    def stopped_after(lines):
        process = start(tmp_path / "stopped", 0.1)
        while (log.read_text() if log.exists() else "").count("\n") < lines:
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.01)
        process.send_signal(how)
        assert process.wait() != 0
        assert [p.name for p in (tmp_path / "stopped").iterdir() if not p.name.startswith(".")] == []

    stopped_after(6)  # among the videos
    stopped_after(14)  # among the phrases
    process = start(tmp_path / "stopped", 0)
    assert process.wait() == 0
    done = log.read_text().splitlines()
    videos = [line for line in done if line.endswith(".mp4")]
    # Each stop may cost what was in work, and nothing else.
    assert set(videos) == {f"{i}.mp4" for i in range(COUNT)}
    assert len(videos) <= COUNT + 1
    assert len(done) - len(videos) <= 3 + 1
    log.unlink()
    assert start(tmp_path / "whole", 0).wait() == 0
    assert len(log.read_text().splitlines()) == COUNT + 3
    one, two = files_of(tmp_path / "stopped" / "dogs"), files_of(tmp_path / "whole" / "dogs")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert [p.name for p in (tmp_path / "stopped").iterdir()] == ["dogs"]


def test_what_changed_is_done_again_and_the_rest_is_not(tmp_path, raw, monkeypatch):
    worked, check = [], video_checks.check_file
    monkeypatch.setattr(video_checks, "check_file", lambda job: worked.append(job.source.name) or check(job))
    phrases = phrase_extraction.phrase_lists
    monkeypatch.setattr(phrase_extraction, "phrase_lists", lambda texts: 1 / 0)

    def run(**changes):
        worked.clear()
        with pytest.raises(ZeroDivisionError):
            go(tmp_path / "out", raw, **changes)
        return sorted(worked)

    everything = sorted(f"{i}.mp4" for i in range(COUNT))
    assert run() == everything
    assert run() == []
    write_video(raw / "5.mp4")
    (raw / "7.mp4").unlink()
    os.utime(raw / "3.mp4", ns=(1, 1))
    next((tmp_path / "out").rglob("002.mp4")).write_bytes(b"")  # the re-encoded file of clip2
    assert run() == ["2.mp4", "3.mp4", "5.mp4", "7.mp4"]
    assert run(encoding=EncodingOptions(fps=2)) == everything
    monkeypatch.setattr(phrase_extraction, "phrase_lists", phrases)
    worked.clear()
    made = go(tmp_path / "out", raw, encoding=EncodingOptions(fps=2))
    assert worked == []
    monkeypatch.undo()
    other = go(tmp_path / "other", raw, encoding=EncodingOptions(fps=2), workers=2)
    assert files_of(made) == files_of(other)


def test_a_journal_of_another_kind_is_begun_anew(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"x" * 5000)
    journal = Journal(tmp_path)
    assert journal.checked("train", 0, b"1") is None
    journal.record_check("train", 0, b"1", "a", "a.mp4", JobResult(1, 2.0, 3, ""))
    journal.record_check("train", 1, b"1", "b", "b.mp4", JobResult(0, 0, 0, "is empty"))
    journal.close()
    journal = Journal(tmp_path)
    assert journal.checked("train", 0, b"1") == JobResult(1, 2.0, 3, "")
    assert journal.checked("train", 0, b"2") is None
    assert [item["video"] for item in journal.skipped(["train"])] == ["b"]
    journal.begin({"train": 1})
    assert list(journal.skipped(["train"])) == []
