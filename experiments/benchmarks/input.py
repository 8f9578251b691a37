"""Input benchmark: clips per second decoded, sampled and augmented by one core, compared with decord and torchcodec.

    pip install -r requirements/bench.in
    python experiments/benchmarks/input.py --videos VIDEOS --short-side 0 256 --out experiments/results/input.json

The task: from the bytes of a video file to uint8 [T, size, size, 3]; T frames at the centers of equal segments of the
clip's duration, one box of every frame (the same for all libraries, drawn as in training, on even pixels), scaled to a
square and optionally mirrored. The indices of the frames in the file are given to decord and torchcodec at no cost;
this project computes them from the times.

Every library runs on one core with one thread (the process is pinned), in several variants, of which the fastest on a
table counts. Variants of decord, which only returns whole pictures:
  - `scaled while decoding`: VideoReader(width, height) such that the box becomes `size` pixels, then a slice; the box
    is up to half a pixel off;
  - `OpenCV`: pictures as stored from get_batch, cropped and resized by cv2 (INTER_AREA where both sides shrink).
Variants of torchcodec:
  - `transforms`: crop and torchcodec.transforms.Resize inside the decoder. RandomCrop draws its own position, so a
    transform of the same kind sets it;
  - `transforms, approximate`: the same with seek_mode="approximate", which saves the scan and guarantees less;
  - `PyTorch`: get_frames_at, then cropped and interpolated (bilinear, antialias) as uint8;
  - `OpenCV`: the same with cv2.

A clip counts if all libraries return the same frames: where a library's pictures, resized outside its decoder, differ
from ours by more than 2 levels of 255 on average, they are different frames. One frame early or late is 3 to 60. AVI
with B-frames, whose frames the libraries number differently, and files with several video streams are excluded this
way, and are listed.

Libraries take turns clip by clip, in an order that changes with every repeat, and a clip's time is the median of its
repeats. The measure is CPU seconds of the process, which other programs on the machine hardly affect; wall-clock
seconds are reported as well, and are meaningful on a quiet machine only: a busy core favors libraries that decode in a
thread of their own. The load is recorded.
"""

import argparse
import dataclasses
import importlib.metadata
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from svilm_data.pipeline.transcoding import EncodingOptions, transcode

from svilm_jax.config import InputConfig, VideoConfig
from svilm_jax.input import augmentation, temporal_sampling
from svilm_jax.input.clips import decode_clip
from svilm_jax.input.schema import Record
from svilm_jax.video import decoding
from svilm_jax.video.crop_box import CropBox
from svilm_jax.video.decoding import VideoError

OURS = "svilm_jax"
COMPARED = {".mp4", ".avi", ".webm", ".mkv", ".mov"}  # containers that all compared libraries read
SAME_FRAMES = 2.0  # levels of 255, on average over a clip


@dataclasses.dataclass(frozen=True)
class Work:
    """One clip and what is to be shown of it.

    Attributes:
      name: of the file.
      video: its bytes.
      frames: T.
      indices: number of each frame in the file.
      height, width: pixels of the picture.
      box: (top, left, height, width) in pixels, all even.
      size: pixels of the square.
      flip: whether to mirror.
    """

    name: str
    video: bytes
    frames: int
    indices: list[int]
    height: int
    width: int
    box: tuple[int, int, int, int]
    size: int
    flip: bool


Form = Callable[[Work], np.ndarray]


def main() -> None:
    """Measures, prints the tables and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, help="folder of video files, searched through")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--frames", type=int, nargs="+", default=[32, 16])
    parser.add_argument("--size", type=int, default=224)
    short_side_help = "one table each: files re-encoded as `svilm prepare --short-side` does; 0: as they are"
    parser.add_argument("--short-side", type=int, nargs="+", default=[0, 256], help=short_side_help)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--libraries", nargs="*", default=["decord", "torchcodec"], choices=["decord", "torchcodec"])
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    forms = load_forms(args.libraries)
    paths = sorted(path for path in args.videos.rglob("*") if path.suffix.lower() in COMPARED)
    options = [
        f"--{name.replace('_', '-')} {_words(getattr(args, name))}"
        for name in ("frames", "size", "short_side", "repeats", "seed", "libraries")
    ]
    result = {
        "command": " ".join(["python experiments/benchmarks/input.py --videos VIDEOS", *options]),
        "machine": machine(),
        "versions": versions(args.libraries),
        "measure": "clips a second on one core, by CPU seconds and by seconds on the wall; medians of the repeats",
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "tables": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for short_side in args.short_side:
            files = reencoded(paths, short_side, Path(folder)) if short_side else paths
            for frames in args.frames:
                table = measure(files, forms, frames, args.size, args.repeats, args.seed)
                name = f"{frames} frames, " + (
                    f"short side {short_side}, re-encoded" if short_side else "files as found"
                )
                result["tables"].append({"name": name, **table})
                print(markdown(name, table), flush=True)
                if args.out:  # what is measured stays if a later table fails
                    args.out.parent.mkdir(parents=True, exist_ok=True)
                    args.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    paths: Sequence[Path], forms: dict[str, Form], frames: int, size: int, repeats: int, seed: int
) -> dict[str, Any]:
    """One table: see the module. `forms` must hold `OURS`."""
    clips, left_out = choose(paths, forms, frames, size, seed)
    if not clips:
        raise SystemExit(f"no clip on which all libraries agree: {left_out}")
    seconds: dict[str, list[list[tuple[float, float]]]] = {name: [[] for _ in clips] for name in forms}
    names = list(forms)
    for repeat in range(repeats):
        for number, (work, _) in enumerate(clips):
            first = (repeat + number) % len(names)
            for name in names[first:] + names[:first]:
                wall, cpu = time.perf_counter(), time.process_time()
                forms[name](work)
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
    rivals = [name for name in names if name != OURS]
    table: dict[str, Any] = {"clips": [work.name for work, _ in clips], "left_out": left_out, "rows": rows}
    for measure_ in ("clips_per_second", "clips_per_second_wall"):
        if rivals:
            best = max(rivals, key=lambda name: rows[name][measure_])
            table["ratio" + measure_.removeprefix("clips_per_second")] = round(
                rows[OURS][measure_] / rows[best][measure_], 3
            )
    if rivals:
        best = max(rivals, key=lambda name: rows[name]["clips_per_second"])
        each = np.array(rows[best]["milliseconds"]) / np.array(rows[OURS]["milliseconds"])
        table |= {"best": best, "ratio_of_clips": np.round(np.quantile(each, (0, 0.25, 0.5, 0.75, 1)), 2).tolist()}
    return table


def choose(
    paths: Sequence[Path], forms: dict[str, Form], frames: int, size: int, seed: int
) -> tuple[list[tuple[Work, dict[str, float]]], dict[str, str]]:
    """The clips on which all agree, with how far each form is from ours on average; and why others are left out."""
    clips, left_out = [], {}
    for path in paths:
        try:
            work = prepare(path, frames, size, np.random.default_rng([seed, len(clips) + len(left_out)]))
        except VideoError as error:
            left_out[path.name] = error.reason
            continue
        ours, differences, refused = forms[OURS](work).astype(np.int16), {}, {}
        for name, form in forms.items():
            try:
                shown = form(work)
            except Exception as error:  # whatever a library cannot read is its own kind of error
                refused[name.split(":")[0]] = f"{name}: {type(error).__name__}"
                continue
            if shown.shape != ours.shape or shown.dtype != np.uint8:
                raise ValueError(f"{name} gives {shown.dtype} {shown.shape} for {work.name}, expected {ours.shape}")
            differences[name] = float(np.abs(ours - shown).mean())
        for library in dict.fromkeys(name.split(":")[0] for name in differences):
            least = min(value for name, value in differences.items() if name.startswith(library))
            if least > SAME_FRAMES:
                refused[library] = f"{library} shows other pictures (mean difference {least:.1f})"
        if refused:
            left_out[path.name] = "; ".join(refused.values())
        else:
            clips.append((work, differences))
    return clips, left_out


def prepare(path: Path, frames: int, size: int, rng: np.random.Generator) -> Work:
    """What is to be shown of a file; the same for the same generator."""
    video = path.read_bytes()
    shown = decoding.decode(
        video, lambda info: temporal_sampling.center_times(frames, 0.0, info.duration), short_side=32, name=path.name
    )
    if shown.info.rotation or shown.info.mirrored:
        raise VideoError("is stored rotated, which the libraries treat differently", path.name)
    if len(set(shown.indices.tolist())) < frames:
        raise VideoError(f"has fewer than {frames} frames", path.name)
    height, width, settings = shown.info.height, shown.info.width, InputConfig()
    crop = augmentation.random_resized_crop(height, width, size, settings.crop_scale, settings.crop_ratio, rng)
    top, left = (int(crop.top * height) // 2 * 2, int(crop.left * width) // 2 * 2)
    box = (top, left, int(crop.height * height) // 2 * 2, int(crop.width * width) // 2 * 2)
    return Work(path.name, video, frames, shown.indices.tolist(), height, width, box, size, bool(rng.random() < 0.5))


def ours(work: Work) -> np.ndarray:
    """What training does with a record, the drawing of the box aside."""
    top, left, height, width = work.box
    part = (top / work.height, left / work.width, height / work.height, width / work.width)
    clip = decode_clip(
        Record(work.name, work.video),
        VideoConfig(num_frames=work.frames, image_size=work.size),
        crop=lambda *_: CropBox(*part, work.size, work.flip),
    )
    return np.ascontiguousarray(clip.images)


def load_forms(libraries: Sequence[str]) -> dict[str, Form]:
    """Every form of every library, by name; the packages are imported here, so that ours runs without them."""
    forms: dict[str, Form] = {OURS: ours}
    if "decord" in libraries:
        forms |= _decord_forms()
    if "torchcodec" in libraries:
        forms |= _torchcodec_forms()
    return forms


def _decord_forms() -> dict[str, Form]:
    import cv2
    import decord

    cv2.setNumThreads(1)

    def read(work: Work, **size: int) -> np.ndarray:
        reader = decord.VideoReader(io.BytesIO(work.video), ctx=decord.cpu(0), num_threads=1, **size)
        return reader.get_batch(work.indices).asnumpy()  # [T, h, w, 3]

    def scaled(work: Work) -> np.ndarray:
        top, left, height, width = work.box
        whole = (round(work.height * work.size / height), round(work.width * work.size / width))
        images = read(work, height=whole[0], width=whole[1])
        top = min(round(top * work.size / height), whole[0] - work.size)
        left = min(round(left * work.size / width), whole[1] - work.size)
        return _mirrored(images[:, top : top + work.size, left : left + work.size], work)

    def opencv(work: Work) -> np.ndarray:
        return _mirrored(_resized_by_opencv(read(work), work), work)

    return {"decord: scaled while decoding": scaled, "decord: OpenCV": opencv}


def _torchcodec_forms() -> dict[str, Form]:
    import cv2
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import DecoderTransform, Resize

    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    class Crop(DecoderTransform):
        def __init__(self, box: tuple[int, int, int, int]):
            self.box = box

        def _make_transform_spec(self, input_dims: Any) -> str:
            top, left, height, width = self.box
            return f"crop, {height}, {width}, {left}, {top}"

        def _get_output_dims(self) -> tuple[int, int]:
            return self.box[2:]

    def read(work: Work, seek_mode: str = "exact", transforms: Sequence[Any] | None = None) -> Any:
        decoder = VideoDecoder(
            work.video, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=seek_mode, transforms=transforms
        )
        return decoder.get_frames_at(work.indices).data  # [T, h, w, 3]

    def transforms(work: Work, seek_mode: str = "exact") -> np.ndarray:
        steps = [Crop(work.box), Resize((work.size, work.size))]
        return _mirrored(read(work, seek_mode, steps).numpy(), work)

    def pytorch(work: Work) -> np.ndarray:
        top, left, height, width = work.box
        part = read(work)[:, top : top + height, left : left + width].permute(0, 3, 1, 2)
        small = torch.nn.functional.interpolate(part, (work.size, work.size), mode="bilinear", antialias=True)
        return _mirrored(small.permute(0, 2, 3, 1).numpy(), work)

    def opencv(work: Work) -> np.ndarray:
        return _mirrored(_resized_by_opencv(read(work).numpy(), work), work)

    return {
        "torchcodec: transforms": transforms,
        "torchcodec: transforms, approximate": lambda work: transforms(work, "approximate"),
        "torchcodec: PyTorch": pytorch,
        "torchcodec: OpenCV": opencv,
    }


def _resized_by_opencv(images: np.ndarray, work: Work) -> np.ndarray:
    import cv2

    top, left, height, width = work.box
    how = cv2.INTER_AREA if min(height, width) > work.size else cv2.INTER_LINEAR
    size = (work.size, work.size)
    parts = images[:, top : top + height, left : left + width]
    return np.stack([cv2.resize(part, size, interpolation=how) for part in parts])  # [T, size, size, 3]


def _mirrored(images: np.ndarray, work: Work) -> np.ndarray:
    return np.ascontiguousarray(images[:, :, ::-1] if work.flip else images)


def reencoded(paths: Sequence[Path], short_side: int, folder: Path) -> list[Path]:
    """The files as `svilm prepare captioned_videos --short-side` writes them; those it refuses are left out."""
    made = []
    for path in paths:
        target = folder / f"{path.parent.name}_{path.stem}.mp4"
        try:
            transcode(path, target, EncodingOptions(short_side), decoding.probe(path))
        except VideoError as error:
            print(f"not re-encoded: {error}")
            continue
        made.append(target)
    return made


def markdown(name: str, table: dict[str, Any]) -> str:
    """The table to read."""
    lines = [f"**{name}**: {len(table['clips'])} clips, {len(table['left_out'])} left out", ""]
    lines += ["| library | clips/s, CPU time | clips/s, wall | difference |", "|---|---|---|---|"]
    for library, row in table["rows"].items():
        cells = (row["clips_per_second"], row["clips_per_second_wall"], row["difference"])
        lines.append(f"| {library} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    if "best" in table:
        ratio, wall, spread = table["ratio"], table["ratio_wall"], _words(table["ratio_of_clips"])
        lines += ["", f"Ratio to the better one ({table['best']}): **{ratio:.2f}**, on the wall {wall:.2f};"]
        lines += [f"of single clips (least, quartiles, most): {spread}."]
    return "\n".join([*lines, ""])


def machine() -> str:
    """One core of what, in words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = found[0] if found else model
    return f"one of {os.cpu_count()} cores, {model}, {platform.system()} {platform.machine()}"


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Of what is compared, and of the FFmpeg inside where it tells."""
    import av

    found = {"python": platform.python_version(), "ffmpeg of av": av.ffmpeg_version_info}
    packages = ["av", "numpy", "pillow"]
    if libraries:
        packages += ["eva-decord", "decord", "torchcodec", "torch", "opencv-python-headless"]
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "torchcodec" in libraries:
        import torchcodec

        found["ffmpeg of torchcodec"] = str(torchcodec.ffmpeg_major_version)
    return found


def _words(values: Any) -> str:
    return " ".join(map(str, values)) if isinstance(values, (list, tuple)) else str(values)


if __name__ == "__main__":
    main()
