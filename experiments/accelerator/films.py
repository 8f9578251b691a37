"""Captioned H.264 films of realistic size and bit rate, generated on the measured machine.

A film is ten seconds of 340x256 at 12 frames per second, the result of `svilm prepare --short-side 256 --fps 12` for a
clip of MSR-VTT: a panned texture with film grain and moving shapes, about 150 KB.
"""

import dataclasses
import json
import multiprocessing
import string
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

COLORS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 210), "yellow": (220, 200, 50)}
WAYS = {"up": (-1, 0), "down": (1, 0)}


@dataclasses.dataclass(frozen=True)
class Form:
    """Format of a film: size in pixels, frames per second, and duration in seconds."""

    width: int = 340
    height: int = 256
    fps: int = 12
    seconds: float = 10.0


def write_films(folder: Path, count: int, form: Form, workers: int, words: int) -> tuple[Path, Path, Path, Path]:
    """Writes `count` films with captions, and a WordPiece vocabulary of `words` lines.

    Returns:
      The folder of videos, the captions (JSON), the noun phrases of the captions (JSON), and the vocabulary.
    """
    videos = folder / "videos"
    videos.mkdir(parents=True)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        captions = pool.starmap(_write_film, [(videos / f"film{i:04d}.mp4", i, form) for i in range(count)])
    phrases = {caption: [caption.split(" moves ")[0], caption.split(" over ")[1]] for caption in captions}
    rows = [{"video": f"film{i:04d}.mp4", "caption": caption} for i, caption in enumerate(captions)]
    (folder / "captions.json").write_text(json.dumps(rows))
    (folder / "phrases.json").write_text(json.dumps(phrases))
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase]
    known += [f"##{letter}" for letter in string.ascii_lowercase]
    known += [f"[unused{i}]" for i in range(words - len(known))]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in known))
    return videos, folder / "captions.json", folder / "phrases.json", folder / "vocab.txt"


def _write_film(path: Path, number: int, form: Form) -> str:
    """Writes a film; returns its caption."""
    rng = np.random.default_rng(number)
    color, way = rng.choice(list(COLORS)), rng.choice(list(WAYS))
    texture = _texture(rng, 2 * form.height, 2 * form.width)
    frames = round(form.fps * form.seconds)
    pan = rng.uniform(0, [form.height - 1, form.width - 1], (2, 2))  # from, to
    side = form.height // 4
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=form.fps)
        stream.width, stream.height, stream.pix_fmt = form.width, form.height, "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        stream.time_base = Fraction(1, form.fps)
        for index in range(frames):
            progress = index / max(frames - 1, 1)
            top, left = (pan[0] + progress * (pan[1] - pan[0])).astype(int)
            image = texture[top : top + form.height, left : left + form.width].astype(np.int16)
            image = image + rng.normal(0, 3, (*image.shape[:2], 1)).astype(np.int16)
            row = int((form.height - side) * (0.5 + 0.5 * WAYS[way][0] * (2 * progress - 1)))
            column = int((form.width - side) * 0.4)
            image[row : row + side, column : column + side] = COLORS[color]
            frame = av.VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return f"a {color} square moves {way} over a grainy wall"


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns noise at four scales, uint8 [height, width, 3]."""
    total = np.zeros((height, width, 3))
    for cell in (64, 32, 16, 4):
        grid = rng.normal(size=(height // cell + 1, width // cell + 1, 3))
        total += np.sqrt(cell) * np.kron(grid, np.ones((cell, cell, 1)))[:height, :width]
    return (127 + 40 * total / total.std()).clip(0, 255).astype(np.uint8)


def prepare_arguments(films: Sequence[Path], out: Path, workers: int) -> list[str]:
    """Returns the arguments of `svilm` that prepare the films of `write_films`."""
    videos, captions, phrases, vocabulary = films
    command = ["prepare", "captioned_videos", f"--videos={videos}", f"--captions={captions}", f"--phrases={phrases}"]
    return [*command, f"--vocab={vocabulary}", f"--out={out}", f"--workers={workers}", "--name=films"]
