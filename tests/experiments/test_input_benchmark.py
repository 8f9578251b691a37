"""Tests of the input benchmark, without the libraries that it compares with."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from experiments.benchmarks import input as input_benchmark

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark():
    return input_benchmark


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two clips of noise that slides, 40 frames each, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    noise = np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for number in range(2):
        with av.open(str(folder / f"{number}.mp4"), "w") as out:
            stream = out.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 240, 192 - 16 * number, "yuv420p"
            for i in range(40):
                picture = np.ascontiguousarray(noise[: stream.height, 4 * i : 4 * i + 240])
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode(None))
    (folder / "broken.mp4").write_bytes(b"broken" * 99)
    return folder


def test_ours_alone(benchmark, videos):
    paths = sorted(videos.iterdir())
    table = benchmark.measure(paths, {benchmark.OURS: benchmark.ours}, 8, 64, 1, 0)
    assert table["clips"] == ["0.mp4", "1.mp4"]
    assert list(table["left_out"]) == ["broken.mp4"]
    row = table["rows"][benchmark.OURS]
    assert row["clips_per_second"] > 0
    assert len(row["milliseconds"]) == 2
    assert "svilm_jax" in benchmark.markdown("name", table)


def test_a_library_that_returns_other_frames_is_excluded(benchmark, videos):
    def late(work):
        return np.roll(benchmark.ours(work), 1, axis=0)

    def slow(work):
        return [benchmark.ours(work) for _ in range(3)][0]

    paths = sorted(videos.glob("?.mp4"))
    clips, left_out = benchmark.choose(paths, {benchmark.OURS: benchmark.ours, "late: one": late}, 8, 64, 0)
    assert not clips
    assert all("late returns other frames" in why for why in left_out.values())
    table = benchmark.measure(paths, {benchmark.OURS: benchmark.ours, "slow: thrice": slow}, 8, 64, 3, 0)
    assert table["best"] == "slow: thrice"
    assert table["ratio"] > 1.3


def test_the_work_is_the_box_that_was_drawn(benchmark, videos):
    """What the fast way gives is the box of the whole pictures, resized."""
    from svilm_jax.video.decoding import decode

    work = benchmark.prepare(videos / "0.mp4", 8, 64, np.random.default_rng(3))
    every = decode(work.video, None).images[work.indices].astype(float)  # [8, 192, 240, 3]
    top, left, height, width = work.box
    box = every[:, top : top + height, left : left + width]
    shown = benchmark.ours(work)[:, :, ::-1] if work.flip else benchmark.ours(work)
    assert shown.shape == (8, 64, 64, 3)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):  # mean colors of the quarters
        small = shown[:, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32].mean((1, 2))
        rows = slice(row * height // 2, (row + 1) * height // 2)
        columns = slice(column * width // 2, (column + 1) * width // 2)
        assert np.abs(small - box[:, rows, columns].mean((1, 2))).max() < 3


def test_command_line(videos, tmp_path):
    out = tmp_path / "result.json"
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.input",
        "--videos",
        str(videos),
        "--out",
        str(out),
        "--frames",
        "4",
        "--size",
        "32",
    ]
    done = subprocess.run(
        [*command, "--repeats", "1", "--short-side", "128", "--libraries"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert "short side 128" in text
    assert str(videos) not in text
