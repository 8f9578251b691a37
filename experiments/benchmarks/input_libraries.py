"""Variants of this project, decord and torchcodec for the input benchmark, each a function of one clip task."""

import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from svilm_jax.config import VideoConfig
from svilm_jax.input.clips import decode_clip
from svilm_jax.input.schema import Record
from svilm_jax.video.crop_box import CropBox

OURS = "svilm_jax"


@dataclasses.dataclass(frozen=True)
class ClipTask:
    """A clip to decode, crop and resize.

    Attributes:
      name: name of the file.
      video: bytes of the file.
      frames: number of frames, T.
      indices: index of each frame in the file.
      height: height of the frames in pixels.
      width: width of the frames in pixels.
      box: (top, left, height, width) in pixels, all even.
      size: side of the output square in pixels.
      flip: whether to mirror horizontally.
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


Variant = Callable[[ClipTask], np.ndarray]


def ours(task: ClipTask) -> np.ndarray:
    """Returns the clip as training decodes it, with the given box: uint8 [T, size, size, 3]."""
    top, left, height, width = task.box
    part = (top / task.height, left / task.width, height / task.height, width / task.width)
    clip = decode_clip(
        Record(task.name, task.video),
        VideoConfig(num_frames=task.frames, image_size=task.size),
        crop=lambda *_: CropBox(*part, task.size, task.flip),
    )
    return np.ascontiguousarray(clip.images)


def load_variants(libraries: Sequence[str]) -> dict[str, Variant]:
    """Returns name -> variant; packages are imported only here, so that this project runs without them."""
    variants: dict[str, Variant] = {OURS: ours}
    if "decord" in libraries:
        variants |= _decord_variants()
    if "torchcodec" in libraries:
        variants |= _torchcodec_variants()
    return variants


def _decord_variants() -> dict[str, Variant]:
    import cv2
    import decord

    cv2.setNumThreads(1)

    def read(task: ClipTask, **size: int) -> np.ndarray:
        reader = decord.VideoReader(io.BytesIO(task.video), ctx=decord.cpu(0), num_threads=1, **size)
        return reader.get_batch(task.indices).asnumpy()  # [T, h, w, 3]

    def scaled(task: ClipTask) -> np.ndarray:
        top, left, height, width = task.box
        scaled_size = (round(task.height * task.size / height), round(task.width * task.size / width))
        images = read(task, height=scaled_size[0], width=scaled_size[1])
        top = min(round(top * task.size / height), scaled_size[0] - task.size)
        left = min(round(left * task.size / width), scaled_size[1] - task.size)
        return _mirrored(images[:, top : top + task.size, left : left + task.size], task)

    def opencv(task: ClipTask) -> np.ndarray:
        return _mirrored(_resized_by_opencv(read(task), task), task)

    return {"decord: scaled while decoding": scaled, "decord: OpenCV": opencv}


def _torchcodec_variants() -> dict[str, Variant]:
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

    def read(task: ClipTask, seek_mode: str = "exact", transforms: Sequence[Any] | None = None) -> Any:
        decoder = VideoDecoder(
            task.video, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=seek_mode, transforms=transforms
        )
        return decoder.get_frames_at(task.indices).data  # [T, h, w, 3]

    def transforms(task: ClipTask, seek_mode: str = "exact") -> np.ndarray:
        steps = [Crop(task.box), Resize((task.size, task.size))]
        return _mirrored(read(task, seek_mode, steps).numpy(), task)

    def pytorch(task: ClipTask) -> np.ndarray:
        top, left, height, width = task.box
        part = read(task)[:, top : top + height, left : left + width].permute(0, 3, 1, 2)
        small = torch.nn.functional.interpolate(part, (task.size, task.size), mode="bilinear", antialias=True)
        return _mirrored(small.permute(0, 2, 3, 1).numpy(), task)

    def opencv(task: ClipTask) -> np.ndarray:
        return _mirrored(_resized_by_opencv(read(task).numpy(), task), task)

    return {
        "torchcodec: transforms": transforms,
        "torchcodec: transforms, approximate": lambda task: transforms(task, "approximate"),
        "torchcodec: PyTorch": pytorch,
        "torchcodec: OpenCV": opencv,
    }


def _resized_by_opencv(images: np.ndarray, task: ClipTask) -> np.ndarray:
    import cv2

    top, left, height, width = task.box
    interpolation = cv2.INTER_AREA if min(height, width) > task.size else cv2.INTER_LINEAR
    size = (task.size, task.size)
    parts = images[:, top : top + height, left : left + width]
    return np.stack([cv2.resize(part, size, interpolation=interpolation) for part in parts])  # [T, size, size, 3]


def _mirrored(images: np.ndarray, task: ClipTask) -> np.ndarray:
    return np.ascontiguousarray(images[:, :, ::-1] if task.flip else images)
