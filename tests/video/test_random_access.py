"""Tests of random access against sequential decoding, over a corpus of films.

`SVILM_FILMS=full pytest tests/input/test_random_access.py` reads every frame of every film.
"""

import os
import shutil
import subprocess

import numpy as np
import pytest

from svilm_jax.video import demuxer
from svilm_jax.video.decoding import VideoError, decode, opened, probe
from tests.video.films import Film, films

FULL = os.environ.get("SVILM_FILMS") == "full"
FILMS = films(full=FULL)
STRIDE = 1 if FULL else 7  # of the frames read alone


def reads(film: Film, images: np.ndarray, times: np.ndarray) -> tuple[int, list[str]]:
    """(number of frames read, what differs)."""
    info = probe(film.video)
    inside = times[-1]  # of what decodes; a file that was cut short states more
    accesses = [("alone", [i], [times[i] + 1e-4]) for i in range(0, len(times), STRIDE)]
    gap = float(np.median(np.diff(times)))
    rng = np.random.default_rng(len(film.video))
    for start in np.linspace(0, max(inside - 10 * gap, 0), 24 if FULL else 5):
        asked = start + np.sort(rng.uniform(0, 12 * gap, 5))
        asked = asked[asked <= inside + gap / 2]
        accesses.append(("window", np.searchsorted(times, asked + 1e-6, side="right") - 1, asked))
    asked = (np.arange(12) + 0.5) / 12 * inside
    accesses.append(("spread", np.searchsorted(times, asked + 1e-6, side="right") - 1, asked))
    wrong, count = [], 0
    for kind, expected, asked in accesses:
        got = decode(film.video, asked)
        count += len(asked)
        for i, image, time, number in zip(expected, got.images, got.times, got.indices, strict=True):
            if number != i or abs(time - times[i]) > 2e-3 or not np.array_equal(image, images[i]):
                wrong.append(f"{kind} at {time:.3f}: frame {number}, expected {i} at {times[i]:.3f}")
    for start in np.linspace(0, inside, 8 if FULL else 3):
        with opened(film.video) as reader:
            shown = None
            for time, frame in reader.play(start):
                if shown is not None and time > start + 1e-6:
                    break
                shown = (time, frame)
            count += 1
            i = int(np.searchsorted(times, start + 1e-6, side="right") - 1)
            frame = shown[1]
            width = round(frame.width * film.aspect)
            image = film.orient(frame.reformat(width, frame.height, "rgb24", interpolation="BILINEAR").to_ndarray())
            if abs(shown[0] - times[i]) > 2e-3 or not np.array_equal(image, images[i]):
                wrong.append(f"played from {start:.3f}: {shown[0]:.3f}, expected {times[i]:.3f}")
    assert info.frames >= len(times) or film.name.startswith("cut")
    return count, wrong


@pytest.mark.parametrize("kept", [True, False] if FULL else [True])
@pytest.mark.parametrize("name", FILMS)
def test_every_access_gives_what_sequential_decoding_gives(name, kept, record_property, monkeypatch):
    if not kept:  # as for files that are too large to keep their packets in memory
        monkeypatch.setattr(demuxer, "_KEPT_BYTES", 0)
    film = FILMS[name]()
    images, times = film.reference()
    count, wrong = reads(film, images, times)
    record_property("reads", count)
    assert not wrong, f"{film.name}: {len(wrong)} of {count} reads differ: {wrong[:6]}"
    if not name.startswith("cut"):
        whole = decode(film.video, None)
        assert np.array_equal(whole.images, images), film.name
        assert whole.info.duration > times[-1]
        assert decode(film.video, [whole.info.duration - 1e-3]).indices.tolist() == [len(times) - 1]


@pytest.mark.parametrize(
    "name", ["h264 refresh mp4", "hevc open matroska", "starts inside, open matroska", "concatenated mpegts"]
)
def test_files_too_large_to_keep_are_read_the_same(name, monkeypatch):
    monkeypatch.setattr(demuxer, "_KEPT_BYTES", 0)
    film = FILMS[name]()
    assert reads(film, *film.reference())[1] == []


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine")
# The program converts the chroma of interlaced pictures field by field, and keeps the stored width.
@pytest.mark.parametrize("name", [n for n in FILMS if "interlaced" not in n and "aspect" not in n][:: 1 if FULL else 6])
def test_the_first_and_the_last_frame_agree_with_the_program_ffmpeg(name, tmp_path):
    film = FILMS[name]()
    path = tmp_path / "film"
    path.write_bytes(film.video)
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "rgb24"]
    done = subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True, check=False)
    try:
        ours = decode(film.video, None).images
    except VideoError:
        assert name.startswith("cut")
        return
    theirs = np.frombuffer(done.stdout, np.uint8).reshape(-1, *ours.shape[1:])
    for place in (0, -1):
        assert np.abs(theirs[place].astype(int) - ours[place]).mean() < 1, film.name
