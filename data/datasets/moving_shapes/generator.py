"""Generator of the moving-shapes clips, as mp4 and annotation files in the layout of a downloaded dataset.

    <raw>/videos/<split>/<video_id>.mp4     H.264, 64x64, 8 frames per second
    <raw>/masks/<split>/<video_id>.npz      uint8 [F, 64, 64], all splits except the training splits
    <raw>/annotations/<split>.json          videos, sentences, objects, actions, questions, cuts

Every group of look-alikes has its own random stream, so the result depends only on the seed and not on the number of
processes.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from svilm_data.datasets.moving_shapes.grammar import actions, draw_description, questions, verbalize
from svilm_data.datasets.moving_shapes.rendering import CANVAS, flicker, render
from svilm_data.datasets.moving_shapes.scene import Scene, SceneNotFound, draw_appearance, draw_scene
from svilm_data.pipeline.workers import open_workers
from tqdm import tqdm

from svilm_jax.video.rgb_conversion import encodable

FPS = 8
FRAMES = 16  # per trimmed clip: two seconds
MASKED = ("validation", "test")  # kinds of splits whose masks are written


@dataclasses.dataclass(frozen=True)
class SplitSpec:
    """Structure of a split.

    Attributes:
      kind: train, validation or test; determines the combinations that its scenes are drawn from.
      clips: default number of clips.
      group: number of adjacent look-alike clips.
      draw: creates the scenes of one group.
    """

    kind: str
    clips: int
    group: int
    draw: Callable[[np.random.Generator, str, int], list[Scene]]


def _same_appearance(rng: np.random.Generator, kind: str, size: int) -> list[Scene]:
    appearance = draw_appearance(rng)
    return [draw_scene(rng, appearance, kind) for _ in range(size)]


def _training_pair(rng: np.random.Generator, kind: str, size: int) -> list[Scene]:
    """Draws look-alikes for training: twins, pairs that differ only in motion, or unconstrained pairs."""
    return (_twins, _same_objects, _same_appearance)[rng.integers(3)](rng, kind, size)


def _hard_group(rng: np.random.Generator, kind: str, size: int) -> list[Scene]:
    appearance = draw_appearance(rng, count=int(rng.integers(1, 3)))
    return [draw_scene(rng, appearance, kind) for _ in range(size)]


def _twins(rng: np.random.Generator, kind: str, size: int) -> list[Scene]:
    appearance = draw_appearance(rng)
    first = draw_scene(rng, appearance, kind)
    return [first, *(draw_scene(rng, appearance, kind, unlike=first) for _ in range(size - 1))]


def _same_objects(rng: np.random.Generator, kind: str, size: int) -> list[Scene]:
    """Draws the same one or two objects, each time with another motion: single frames do not distinguish them."""
    first = draw_scene(rng, appearance := draw_appearance(rng, count=int(rng.integers(1, 3))), kind)
    return [first, *(draw_scene(rng, appearance, kind, unlike=first, same_shapes=True) for _ in range(size - 1))]


def _single_objects(rng: np.random.Generator, kind: str, size: int) -> list[Scene]:
    """Draws single objects, whose motion is the action of the clip."""
    return [draw_scene(rng, draw_appearance(rng, count=1), kind) for _ in range(size)]


def _untrimmed_scenes(rng: np.random.Generator, kind: str, size: int) -> list[Scene]:
    """Draws the scenes of an untrimmed video; about a third of the cuts lead to a look-alike."""
    appearance = draw_appearance(rng, count=int(rng.integers(1, 3)))
    scenes = [draw_scene(rng, appearance, kind)]
    while len(scenes) < size:
        if rng.random() < 1 / 3:
            with contextlib.suppress(SceneNotFound):
                scenes.append(draw_scene(rng, appearance, kind, unlike=scenes[-1]))
                continue
        appearance = draw_appearance(rng, count=int(rng.integers(1, 3)))
        scenes.append(draw_scene(rng, appearance, kind))
    return scenes


SPLITS: Mapping[str, SplitSpec] = {
    "train": SplitSpec("train", 4000, 2, _training_pair),
    "validation": SplitSpec("validation", 200, 1, _same_appearance),
    "test": SplitSpec("test", 200, 1, _same_appearance),
    "hard_validation": SplitSpec("validation", 200, 8, _hard_group),
    "hard_test": SplitSpec("test", 200, 8, _hard_group),
    "twins_validation": SplitSpec("validation", 100, 2, _twins),
    "twins_test": SplitSpec("test", 200, 2, _twins),
    "untrimmed_train": SplitSpec("train", 60, 1, _untrimmed_scenes),
    "untrimmed_test": SplitSpec("test", 40, 1, _untrimmed_scenes),
    "actions_train": SplitSpec("train", 2000, 1, _single_objects),
    "actions_test": SplitSpec("test", 300, 1, _single_objects),
}


def generate(raw: Path, seed: int = 0, sizes: Mapping[str, int] | None = None, workers: int = 2) -> Path:
    """Renders and writes all splits.

    Args:
      raw: output folder.
      seed: determines all content.
      sizes: number of clips of each split to write; None: all splits with their default numbers.
      workers: number of processes; the result does not depend on it.

    Returns:
      `raw`.

    Raises:
      ValueError: an unknown split, or a size that is not a multiple of the split's group.
    """
    sizes = {name: split.clips for name, split in SPLITS.items()} if sizes is None else sizes
    for name, size in sizes.items():
        if name not in SPLITS or size % SPLITS[name].group:
            raise ValueError(f"moving_shapes: split {name!r} of {size} clips: expected a multiple of the group size")
    jobs = [(name, number) for name, size in sizes.items() for number in range(size // SPLITS[name].group)]
    for name in sizes:
        for folder in ("videos", "masks"):
            (raw / folder / name).mkdir(parents=True, exist_ok=True)
    annotations: dict[str, list[dict[str, Any]]] = {name: [] for name in sizes}
    captions_seen: set[str] = set()
    work = functools.partial(make_group, raw=raw, seed=seed)
    with open_workers(workers) as pool:
        groups = pool.map(work, jobs, task="rendering", chunk=16)
        bar = tqdm(groups, total=len(jobs), desc="rendering", unit="group", disable=None)
        for (name, _), group in zip(jobs, bar, strict=True):
            annotations[name].extend(group)
    (raw / "annotations").mkdir(exist_ok=True)
    for name, videos in annotations.items():
        if name in ("validation", "test"):
            _check_distinct(name, videos, captions_seen)
        document = {"info": {"name": "moving_shapes", "split": name, "seed": seed, "fps": FPS}, "videos": videos}
        (raw / "annotations" / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    return raw


def group_rng(seed: int, name: str, number: int) -> np.random.Generator:
    """Returns the random stream of group `number` of split `name`, which no other group shares."""
    return np.random.default_rng([seed, list(SPLITS).index(name), number])


def make_group(job: tuple[str, int], raw: Path, seed: int) -> list[dict[str, Any]]:
    """Draws, renders and encodes the clips of one group; returns their annotations."""
    name, number = job
    split = SPLITS[name]
    rng = group_rng(seed, name, number)
    if split.draw is _untrimmed_scenes:
        return [_write_untrimmed(raw, name, number, split.draw(rng, split.kind, int(rng.integers(4, 7))), rng)]
    scenes, sentences = draw_distinct_group(rng, split)
    videos = []
    for place, (scene, texts) in enumerate(zip(scenes, sentences, strict=True)):
        video_id = f"{name}_{number * split.group + place:06d}"
        images, masks = render(scene, FRAMES)
        _write(raw, name, video_id, flicker(images, rng), masks, split.kind in MASKED)
        phrases = texts[0][1]
        videos.append(
            {
                "video_id": video_id,
                "file": f"{name}/{video_id}.mp4",
                "group": f"{name}_{number:05d}" if split.group > 1 else "",
                "duration": FRAMES / FPS,
                "sentences": [{"caption": text} for text, _ in texts],
                "objects": [{"phrase": phrases[i], "mask_id": i + 1} for i in sorted(phrases)],
                "actions": [{"label": label} for label in actions(scene)],
                "questions": [dict(zip(("question", "answer", "type"), q, strict=True)) for q in questions(rng, scene)],
                "cuts": [],
            }
        )
    return videos


def draw_distinct_group(
    rng: np.random.Generator, split: SplitSpec
) -> tuple[list[Scene], list[list[tuple[str, dict[int, str]]]]]:
    """Draws the scenes of a group and their sentences.

    Returns:
      The scenes, and per scene its sentences with the phrases of objects: two per training clip; one per other clip,
      true only of its own clip in the group.
    """
    while True:
        try:
            scenes = split.draw(rng, split.kind, split.group)
        except SceneNotFound:
            continue  # with another appearance
        if split.kind == "train":
            return scenes, [
                [verbalize(rng, draw_description(rng, s, complete=False)) for _ in range(2)] for s in scenes
            ]
        descriptions = [draw_description(rng, scene, complete=True) for scene in scenes]
        if all(sum(description.matches(scene) for scene in scenes) == 1 for description in descriptions):
            return scenes, [[verbalize(rng, description)] for description in descriptions]


def _write_untrimmed(
    raw: Path, name: str, number: int, scenes: list[Scene], rng: np.random.Generator
) -> dict[str, Any]:
    """Writes an untrimmed video of several scenes of one to two seconds, with dense captions, cuts and actions."""
    images, masks, start = [], [], 0.0
    video_id = f"{name}_{number:06d}"
    entry: dict[str, Any] = {"video_id": video_id, "file": f"{name}/{video_id}.mp4", "group": ""}
    entry |= {"sentences": [], "objects": [], "actions": [], "questions": [], "cuts": []}
    for scene in scenes:
        frames = int(rng.integers(FPS, FRAMES + 1))
        drawn, mask = render(scene, frames)
        images.append(drawn)
        masks.append(mask)
        end = start + frames / FPS
        text, _ = verbalize(rng, draw_description(rng, scene, complete=True))
        entry["sentences"].append({"caption": text, "start": start, "end": end})
        entry["actions"].extend({"label": label, "start": start, "end": end} for label in actions(scene))
        if start > 0:
            entry["cuts"].append(start)
        start = end
    entry["duration"] = start
    rendered = flicker(np.concatenate(images), rng)
    for place, scene in (("first", scenes[0]), ("last", scenes[-1])):
        for question, answer, kind in questions(rng, scene):
            entry["questions"].append({"question": f"{place}: {question}", "answer": answer, "type": kind})
    _write(raw, name, video_id, rendered, np.concatenate(masks), SPLITS[name].kind in MASKED)
    return entry


def _write(raw: Path, split: str, video_id: str, images: np.ndarray, masks: np.ndarray, masked: bool) -> None:
    encode(raw / "videos" / split / f"{video_id}.mp4", images)
    if masked:
        np.savez_compressed(raw / "masks" / split / f"{video_id}.npz", masks=masks)


def encode(path: Path, images: np.ndarray) -> None:
    """Encodes uint8 [F, h, w, 3] as an H.264 mp4 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = CANVAS, CANVAS, "yuv420p"
        stream.codec_context.gop_size = FRAMES
        stream.codec_context.thread_count = 1  # the bytes must not depend on the number of cores
        stream.options = {"preset": "ultrafast", "crf": "18"}
        for image in images:
            container.mux(stream.encode(encodable(image)))
        container.mux(stream.encode())


def _check_distinct(name: str, videos: list[dict[str, Any]], seen: set[str]) -> None:
    """Prefixes a repeated caption of a gallery with a word that keeps it true, so that all captions differ."""
    for video in videos:
        sentence = video["sentences"][0]
        while sentence["caption"] in seen:
            sentence["caption"] = f"here {sentence['caption']}"
        seen.add(sentence["caption"])
