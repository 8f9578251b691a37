"""Input benchmark: clips per second decoded, sampled and augmented by one core, compared with decord and torchcodec.

    pip install -r requirements/bench.in
    python -m experiments.benchmarks.input --videos VIDEOS --short-side 0 256 --out experiments/results/input.json

The task: from the bytes of a video file to uint8 [T, size, size, 3]; T frames at the centers of equal segments of the
clip's duration, one box of every frame (the same for all libraries, drawn as in training, on even pixels), scaled to a
square and optionally mirrored. The indices of the frames in the file are given to decord and torchcodec at no cost;
this project computes them from the times.

Every library runs on one core with one thread (the process is pinned), in several variants, of which the fastest in a
table counts. Variants of decord, which only returns whole frames:
  - `scaled while decoding`: VideoReader(width, height) such that the box becomes `size` pixels, then a slice; the box
    is up to half a pixel off;
  - `OpenCV`: frames as stored from get_batch, cropped and resized by cv2 (INTER_AREA where both sides shrink).
Variants of torchcodec:
  - `transforms`: crop and torchcodec.transforms.Resize inside the decoder. RandomCrop draws its own position, so a
    transform of the same kind sets it;
  - `transforms, approximate`: the same with seek_mode="approximate", which saves the scan and guarantees less;
  - `PyTorch`: get_frames_at, then cropped and interpolated (bilinear, antialias) as uint8;
  - `OpenCV`: the same with cv2.

A clip counts if all libraries return the same frames: if a library's frames, resized outside its decoder, differ
from ours by more than 2 of 255 levels on average, they are different frames. One frame early or late is 3 to 60. AVI
with B-frames, whose frames the libraries number differently, and files with several video streams are excluded this
way, and are listed.

Libraries take turns clip by clip, in an order that changes with every repeat, and a clip's time is the median of its
repeats. The measure is CPU seconds of the process, which other programs on the machine hardly affect; wall-clock
seconds are reported as well, and are meaningful on a quiet machine only: a busy core favors libraries that decode in a
thread of their own. The load is recorded.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from svilm_data.pipeline.transcoding import EncodingOptions, transcode

from experiments.benchmarks.input_libraries import OURS, ClipTask, Variant, load_variants, ours
from svilm_jax.config import InputConfig
from svilm_jax.input import augmentation, temporal_sampling
from svilm_jax.video import decoding
from svilm_jax.video.decoding import VideoError

__all__ = ["OURS", "choose", "markdown", "measure", "ours", "prepare"]

COMPARED = {".mp4", ".avi", ".webm", ".mkv", ".mov"}  # containers that all compared libraries read
SAME_FRAMES = 2.0  # mean difference over a clip, in levels of 255


def main() -> None:
    """Measures, prints the tables and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, help="folder of video files, searched recursively")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--frames", type=int, nargs="+", default=[32, 16])
    parser.add_argument("--size", type=int, default=224)
    short_side_help = "one table per value: files re-encoded as by `svilm prepare --short-side`; 0: unchanged files"
    parser.add_argument("--short-side", type=int, nargs="+", default=[0, 256], help=short_side_help)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--libraries", nargs="*", default=["decord", "torchcodec"], choices=["decord", "torchcodec"])
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    variants = load_variants(args.libraries)
    paths = sorted(path for path in args.videos.rglob("*") if path.suffix.lower() in COMPARED)
    options = [
        f"--{name.replace('_', '-')} {_words(getattr(args, name))}"
        for name in ("frames", "size", "short_side", "repeats", "seed", "libraries")
    ]
    result = {
        "command": " ".join(["python -m experiments.benchmarks.input --videos VIDEOS", *options]),
        "machine": machine(),
        "versions": versions(args.libraries),
        "measure": "clips per second on one core, by CPU time and by wall-clock time; medians over repeats",
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "tables": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for short_side in args.short_side:
            files = reencoded(paths, short_side, Path(folder)) if short_side else paths
            for frames in args.frames:
                table = measure(files, variants, frames, args.size, args.repeats, args.seed)
                name = f"{frames} frames, " + (
                    f"short side {short_side}, re-encoded" if short_side else "unchanged files"
                )
                result["tables"].append({"name": name, **table})
                print(markdown(name, table), flush=True)
                if args.out:  # results so far survive a failure of a later table
                    args.out.parent.mkdir(parents=True, exist_ok=True)
                    args.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    paths: Sequence[Path], variants: dict[str, Variant], frames: int, size: int, repeats: int, seed: int
) -> dict[str, Any]:
    """Measures one table, as described in the module docstring; `variants` must include `OURS`."""
    clips, left_out = choose(paths, variants, frames, size, seed)
    if not clips:
        raise SystemExit(f"no clip on which all libraries agree: {left_out}")
    seconds: dict[str, list[list[tuple[float, float]]]] = {name: [[] for _ in clips] for name in variants}
    names = list(variants)
    for repeat in range(repeats):
        for number, (task, _) in enumerate(clips):
            first = (repeat + number) % len(names)
            for name in names[first:] + names[:first]:
                wall, cpu = time.perf_counter(), time.process_time()
                variants[name](task)
                seconds[name][number].append((time.process_time() - cpu, time.perf_counter() - wall))
    rows = {}
    for name in names:
        medians = np.median(np.array(seconds[name]), axis=1)  # [clips, 2]
        rows[name] = {
            "clips_per_second": round(len(clips) / medians[:, 0].sum(), 2),
            "clips_per_second_wall": round(len(clips) / medians[:, 1].sum(), 2),
            "difference": round(statistics.mean(differences[name] for _, differences in clips), 2),
            "milliseconds": np.round(1000 * medians[:, 0], 1).tolist(),
        }
    others = [name for name in names if name != OURS]
    table: dict[str, Any] = {"clips": [task.name for task, _ in clips], "left_out": left_out, "rows": rows}
    for measure_ in ("clips_per_second", "clips_per_second_wall"):
        if others:
            best = max(others, key=lambda name: rows[name][measure_])
            table["ratio" + measure_.removeprefix("clips_per_second")] = round(
                rows[OURS][measure_] / rows[best][measure_], 3
            )
    if others:
        best = max(others, key=lambda name: rows[name]["clips_per_second"])
        each = np.array(rows[best]["milliseconds"]) / np.array(rows[OURS]["milliseconds"])
        table |= {"best": best, "ratio_of_clips": np.round(np.quantile(each, (0, 0.25, 0.5, 0.75, 1)), 2).tolist()}
    return table


def choose(
    paths: Sequence[Path], variants: dict[str, Variant], frames: int, size: int, seed: int
) -> tuple[list[tuple[ClipTask, dict[str, float]]], dict[str, str]]:
    """Selects the clips for which all libraries return the same frames.

    Returns:
      Clip tasks with the mean difference of each variant from this project, and the reason for each excluded file.
    """
    clips, left_out = [], {}
    for path in paths:
        try:
            task = prepare(path, frames, size, np.random.default_rng([seed, len(clips) + len(left_out)]))
        except VideoError as error:
            left_out[path.name] = error.reason
            continue
        ours, differences, refused = variants[OURS](task).astype(np.int16), {}, {}
        for name, variant in variants.items():
            try:
                images = variant(task)
            except Exception as error:  # libraries raise exceptions of their own types
                refused[name.split(":")[0]] = f"{name}: {type(error).__name__}"
                continue
            if images.shape != ours.shape or images.dtype != np.uint8:
                raise ValueError(f"{name} returns {images.dtype} {images.shape} for {task.name}, expected {ours.shape}")
            differences[name] = float(np.abs(ours - images).mean())
        for library in dict.fromkeys(name.split(":")[0] for name in differences):
            minimum = min(value for name, value in differences.items() if name.startswith(library))
            if minimum > SAME_FRAMES:
                refused[library] = f"{library} returns other frames (mean difference {minimum:.1f})"
        if refused:
            left_out[path.name] = "; ".join(refused.values())
        else:
            clips.append((task, differences))
    return clips, left_out


def prepare(path: Path, frames: int, size: int, rng: np.random.Generator) -> ClipTask:
    """Draws the clip task of a file, a function of the file and the generator."""
    video = path.read_bytes()
    decoded = decoding.decode(
        video, lambda info: temporal_sampling.center_times(frames, 0.0, info.duration), short_side=32, name=path.name
    )
    if decoded.info.rotation or decoded.info.mirrored:
        raise VideoError("is stored rotated, which the libraries treat differently", path.name)
    if len(set(decoded.indices.tolist())) < frames:
        raise VideoError(f"has fewer than {frames} frames", path.name)
    height, width, settings = decoded.info.height, decoded.info.width, InputConfig()
    crop = augmentation.random_resized_crop(height, width, size, settings.crop_scale, settings.crop_ratio, rng)
    top, left = (int(crop.top * height) // 2 * 2, int(crop.left * width) // 2 * 2)
    box = (top, left, int(crop.height * height) // 2 * 2, int(crop.width * width) // 2 * 2)
    return ClipTask(
        path.name, video, frames, decoded.indices.tolist(), height, width, box, size, bool(rng.random() < 0.5)
    )


def reencoded(paths: Sequence[Path], short_side: int, folder: Path) -> list[Path]:
    """Re-encodes files as `svilm prepare captioned_videos --short-side` does; those that fail are left out."""
    written = []
    for path in paths:
        target = folder / f"{path.parent.name}_{path.stem}.mp4"
        try:
            transcode(path, target, EncodingOptions(short_side), decoding.probe(path))
        except VideoError as error:
            print(f"not re-encoded: {error}")
            continue
        written.append(target)
    return written


def markdown(name: str, table: dict[str, Any]) -> str:
    """Formats a table as Markdown."""
    lines = [f"**{name}**: {len(table['clips'])} clips, {len(table['left_out'])} left out", ""]
    lines += ["| library | clips/s, CPU time | clips/s, wall | difference |", "|---|---|---|---|"]
    for library, row in table["rows"].items():
        cells = (row["clips_per_second"], row["clips_per_second_wall"], row["difference"])
        lines.append(f"| {library} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    if "best" in table:
        ratio, wall, spread = table["ratio"], table["ratio_wall"], _words(table["ratio_of_clips"])
        lines += [
            "",
            f"Ratio to the faster library ({table['best']}): **{ratio:.2f}** by CPU time, {wall:.2f} by wall time;",
        ]
        lines += [f"of single clips (minimum, quartiles, maximum): {spread}."]
    return "\n".join([*lines, ""])


def machine() -> str:
    """Describes the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = models[0] if models else model
    return f"one of {os.cpu_count()} cores, {model}, {platform.system()} {platform.machine()}"


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Returns package -> version of all libraries, and of the FFmpeg inside if known."""
    import av

    versions_ = {"python": platform.python_version(), "ffmpeg of av": av.ffmpeg_version_info}
    packages = ["av", "numpy", "pillow"]
    if libraries:
        packages += ["eva-decord", "decord", "torchcodec", "torch", "opencv-python-headless"]
    for package in packages:
        try:
            versions_[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "torchcodec" in libraries:
        import torchcodec

        versions_["ffmpeg of torchcodec"] = str(torchcodec.ffmpeg_major_version)
    return versions_


def _words(values: Any) -> str:
    return " ".join(map(str, values)) if isinstance(values, (list, tuple)) else str(values)


if __name__ == "__main__":
    main()
