"""Tests of the embedding file: it holds the model's embedding of every video, also after interruptions."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from svilm_jax.checkpoints.model_directory import ModelOrigin, read_model_directory, write_model_directory
from svilm_jax.filesystem.locks import LockError, locked_output
from svilm_jax.filesystem.output_paths import OutputError
from svilm_jax.inference import embedding, embedding_parts, feature_file
from svilm_jax.inference.clip_input import read_clip
from svilm_jax.inference.embedding import EmbeddingError, embed_files, window_spans
from svilm_jax.inference.feature_file import IndexFileError
from svilm_jax.models.parameters import fingerprint, parameters
from svilm_jax.video.decoding import VideoError
from tests.tiny import tiny_model
from tests.video.encoded_videos import encode, numbered_frames


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def write_videos(folder: Path, count: int, frames: int = 12) -> list[Path]:
    """So many different videos of frames / 8 seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:02d}.mp4" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(encode(np.roll(numbered_frames(frames), 3 * i, axis=2)))
    return paths


@pytest.fixture
def folder(tmp_path):
    write_videos(tmp_path / "clips", 3)
    return tmp_path / "clips"


def rows(path: Path) -> dict[tuple[str, float], np.ndarray]:
    """(name, start) -> embedding."""
    table = pq.read_table(path).to_pydict()
    keys = [(Path(video).name, start) for video, start in zip(table["video"], table["start"], strict=True)]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, np.array(table["embedding"], np.float32), strict=True))


@pytest.fixture
def reads(monkeypatch):
    """Names of the videos that are decoded."""
    names = []

    def spied(path, *args):
        names.append(Path(path).name)
        return read_clip(path, *args)

    monkeypatch.setattr(embedding, "read_clip", spied)
    return names


def test_rows_are_what_the_model_says_of_each_video(model, folder, tmp_path):
    named = tmp_path / "a film without an ending"
    named.write_bytes((folder / "00.mp4").read_bytes())
    write_videos(folder / "deep" / "er", 2)
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_text("no video")
    out = tmp_path / "new" / "features.parquet"
    summary = embed_files(model, "runs/tiny", [folder, named, folder / "00.mp4"], out)
    assert (summary.videos, summary.rows, summary.kept, summary.failed) == (6, 6, 0, ())
    assert "6 videos, 6 rows" in str(summary)
    table = pq.read_table(out)
    videos = [Path(video) for video in table["video"].to_pylist()]
    deep = folder / "deep" / "er"
    first = [folder / f"{i:02d}.mp4" for i in range(3)]
    assert videos == [*first, deep / "00.mp4", deep / "01.mp4", named]
    np.testing.assert_allclose(table["embedding"].to_pylist(), model.embed_video(videos), atol=1e-6)
    assert table["start"].to_pylist() == [0.0] * 6
    assert table["end"].to_pylist() == pytest.approx([1.5] * 6)
    origin = feature_file.read_origin(out)
    assert Path(origin.model) == Path("runs/tiny").absolute()
    assert (origin.fingerprint, origin.width) == (fingerprint(parameters(model.model)), 16)
    assert origin.model_fingerprint == str(model.fingerprint)
    assert (origin.window, origin.stride) == (None, None)
    assert sorted(path.name for path in out.parent.iterdir()) == ["features.parquet"]


def test_windows_are_rows(model, folder, tmp_path):
    out = tmp_path / "features.parquet"
    summary = embed_files(model, "runs/tiny", [folder], out, window=1.0, stride=0.25)
    assert (summary.videos, summary.rows) == (3, 9)
    found = rows(out)
    video = model.config.model.video
    clips = [read_clip(folder / name, video, start, start + 1.0) for name, start in found]
    assert [start for _, start in found][:3] == [0.0, 0.25, 0.5]
    np.testing.assert_allclose(list(found.values()), model.embed_video(clips), atol=1e-6)
    assert feature_file.read_origin(out).window == 1.0


@pytest.mark.parametrize(
    ("duration", "window", "stride", "spans"),
    [
        (3.0, None, None, [(0, 3)]),
        (3.0, 1.0, 1.0, [(0, 1), (1, 2), (2, 3)]),
        (3.0, 2.0, 1.0, [(0, 2), (1, 3)]),  # none that is but the tail of the one before it
        (3.1, 2.0, 1.0, [(0, 2), (1, 3), (2, 3.1)]),
        (0.5, 2.0, 1.0, [(0, 0.5)]),
        (0.0, 2.0, 1.0, [(0, 0)]),
        (5.0, 1.0, 3.0, [(0, 1), (3, 4)]),
    ],
)
def test_windows_reach_the_end(duration, window, stride, spans):
    assert window_spans(duration, window, stride) == tuple(spans)


def test_a_killed_run_goes_on(model, tmp_path, reads):
    folder, out, saved = tmp_path / "clips", tmp_path / "features.parquet", tmp_path / "model"
    write_videos(folder, 24)
    # From a file: two processes need not draw the same parameters to the last bit.
    write_model_directory(saved, model, ModelOrigin("a test"), "")
    script = Path(__file__).with_name("embeds_slowly.py")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen([sys.executable, script, saved, folder, out], cwd=root, env=environment)
    while len(list(tmp_path.glob("features.parquet.parts/0*.parquet"))) < 4 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    assert not out.exists()
    summary = embed_files(read_model_directory(saved), saved, [folder], out)
    assert 4 <= summary.kept < 24
    assert (summary.videos, summary.rows, len(reads)) == (24, 24, 24 - summary.kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "features.parquet", "model"]  # no lock
    whole = tmp_path / "whole.parquet"
    embed_files(model, saved, [folder], whole)
    before, after = rows(whole), rows(out)
    assert list(before) == list(after)
    np.testing.assert_allclose(list(after.values()), list(before.values()), atol=1e-6)


def test_what_has_changed_is_embedded_again_and_what_is_gone_leaves(model, folder, tmp_path, reads):
    out = tmp_path / "features.parquet"
    embed_files(model, "runs/tiny", [folder], out)
    before = rows(out)
    gone, changed = str(folder / "02.mp4"), str(folder / "01.mp4")
    reads.clear()
    assert embed_files(model, "runs/tiny", [folder], out).kept == 3
    assert reads == []
    (folder / "01.mp4").write_bytes(encode(numbered_frames(20)[:, ::-1]))
    (folder / "02.mp4").unlink()
    write_videos(folder / "more", 1)
    summary = embed_files(model, "runs/tiny", [folder], out)
    assert (summary.videos, summary.kept, sorted(reads)) == (3, 1, ["00.mp4", "01.mp4"])
    assert summary.removed == (gone,)
    assert f"rows of 1 videos of an earlier run removed: {gone}" in str(summary)
    table = pq.read_table(out).to_pydict()
    assert sorted(Path(video).relative_to(folder).as_posix() for video in table["video"]) == [
        "00.mp4",
        "01.mp4",
        "more/00.mp4",
    ]
    kept = table["embedding"][table["video"].index(str(folder / "00.mp4"))]
    np.testing.assert_array_equal(np.float32(kept), before["00.mp4", 0.0])
    anew = table["embedding"][table["video"].index(changed)]
    np.testing.assert_allclose(np.float32(anew), model.embed_video(folder / "01.mp4")[0], atol=1e-6)


def test_rows_of_other_videos_are_not_removed_unasked(model, folder, tmp_path):
    out, others = tmp_path / "features.parquet", tmp_path / "others"
    write_videos(others, 2)
    embed_files(model, "runs/tiny", [folder], out)
    before = out.read_bytes()
    with pytest.raises(EmbeddingError, match=r"rows of 3 videos that are not among the given ones: .*00\.mp4.*--prune"):
        embed_files(model, "runs/tiny", [others], out)
    assert out.read_bytes() == before
    summary = embed_files(model, "runs/tiny", [others, folder], out)
    assert (summary.videos, summary.rows, summary.kept, summary.removed) == (5, 5, 3, ())
    summary = embed_files(model, "runs/tiny", [others], out, prune=True)
    assert (summary.videos, summary.rows, len(summary.removed)) == (2, 2, 3)


def test_an_output_has_one_writer(model, folder, tmp_path):
    out = tmp_path / "features.parquet"
    with locked_output(out), pytest.raises(LockError, match=rf"features\.parquet: in use by process {os.getpid()} on"):
        embed_files(model, "runs/tiny", [folder], out)
    with pytest.raises(OutputError, match="is a folder, expected the name of a file"):
        embed_files(model, "runs/tiny", [folder], folder)
    with pytest.raises(OutputError, match=r"00\.mp4 is a file, expected a folder"):
        embed_files(model, "runs/tiny", [folder], folder / "00.mp4" / "features.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips"]


def test_rows_that_something_removed_are_missed(model, folder, tmp_path, monkeypatch):
    out = tmp_path / "features.parquet"
    flush = embedding_parts.EmbeddingParts.flush

    def lossy(parts):
        flush(parts)
        for file in tmp_path.glob("features.parquet.parts/*.parquet"):
            file.unlink()

    monkeypatch.setattr(embedding_parts.EmbeddingParts, "flush", lossy)
    with pytest.raises(IndexFileError, match="rows of 3 videos are missing"):
        embed_files(model, "runs/tiny", [folder], out)
    assert not out.exists()


def test_a_full_disk_is_told_with_what_is_kept(model, folder, tmp_path, monkeypatch):
    out, write = tmp_path / "features.parquet", feature_file.write

    def full(path, *args):
        if path == out:
            raise IndexFileError(f"{path}: cannot be written (No space left on device)")
        write(path, *args)

    monkeypatch.setattr(feature_file, "write", full)
    with pytest.raises(IndexFileError, match=r"No space left.*3 finished videos are kept \(in .*parts.*resumes"):
        embed_files(model, "runs/tiny", [folder], out)
    monkeypatch.undo()
    assert embed_files(model, "runs/tiny", [folder], out).kept == 3


def test_bad_videos_are_counted_and_named(model, folder, tmp_path, caplog):
    (folder / "01b.mp4").write_text("no video")
    (folder / "00b.avi").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        summary = embed_files(model, "runs/tiny", [folder], tmp_path / "features.parquet")
    assert [Path(path).name for path, _ in summary.failed] == ["00b.avi", "01b.mp4"]
    assert "2 of 5 videos could not be read" in str(summary)
    assert "01b.mp4" in caplog.text
    assert list(rows(tmp_path / "features.parquet")) == [("00.mp4", 0), ("01.mp4", 0), ("02.mp4", 0)]


def test_a_video_that_breaks_off_has_no_rows_at_all(model, folder, tmp_path, monkeypatch):
    def breaks(path, video, start, end):
        if Path(path).name == "01.mp4" and start >= 0.5:
            raise VideoError("breaks off", "01.mp4")
        return read_clip(path, video, start, end)

    monkeypatch.setattr(embedding, "read_clip", breaks)
    summary = embed_files(model, "runs/tiny", [folder], tmp_path / "features.parquet", 0.5, 0.25)
    assert [(Path(path).name, reason) for path, reason in summary.failed] == [(("01.mp4"), "breaks off")]
    assert {name for name, _ in rows(tmp_path / "features.parquet")} == {"00.mp4", "02.mp4"}
    assert summary.rows == 10


def test_only_bad_videos_are_an_error(model, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(EmbeddingError, match=r"1 of 1 videos could not be read:\n.*bad.mp4: "):
        embed_files(model, "runs/tiny", [tmp_path], tmp_path / "features.parquet")
    assert not (tmp_path / "features.parquet").exists()


def test_what_cannot_be_embedded_is_said(model, folder, tmp_path):
    empty, out = tmp_path / "empty", tmp_path / "features.parquet"
    empty.mkdir()
    (empty / "notes.txt").write_text("no video")
    with pytest.raises(EmbeddingError, match="empty: no video below this folder"):
        embed_files(model, "runs/tiny", [folder, empty], out)
    with pytest.raises(EmbeddingError, match="none: no such file or folder"):
        embed_files(model, "runs/tiny", [tmp_path / "none"], out)
    with pytest.raises(EmbeddingError, match="no videos given"):
        embed_files(model, "runs/tiny", [], out)
    with pytest.raises(EmbeddingError, match="both a window and a stride"):
        embed_files(model, "runs/tiny", [folder], out, 1.0)
    with pytest.raises(EmbeddingError, match="both above 0"):
        embed_files(model, "runs/tiny", [folder], out, 1.0, 0.0)


def test_two_models_or_windows_are_not_mixed(model, folder, tmp_path):
    out = tmp_path / "features.parquet"
    embed_files(model, "runs/tiny", [folder], out)
    other = tiny_model(1)
    one, two = (fingerprint(parameters(each.model)) for each in (model, other))
    with pytest.raises(IndexFileError, match=f"runs/tiny.*{one}.*runs/other.*{two}"):
        embed_files(other, "runs/other", [folder], out)
    with pytest.raises(IndexFileError, match="has rows of whole videos, not windows of 1 s every 0.5 s"):
        embed_files(model, "runs/tiny", [folder], out, 1.0, 0.5)


def test_names_and_links_that_cannot_be_used_are_counted(model, folder, tmp_path):
    (folder / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    with open(os.fsencode(folder) + b"/caf\xe9.mp4", "w"):  # noqa: PTH123 (a path of bytes)
        pass
    summary = embed_files(model, "runs/tiny", [folder], tmp_path / "features.parquet")
    assert (summary.videos, summary.rows) == (3, 3)
    assert [Path(path).name for path, _ in summary.failed] == ["caf\\xe9.mp4", "gone.mp4"]
    assert "2 of 5 videos could not be read" in str(summary)
