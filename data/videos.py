"""Is a video file usable? Checked by decoding it as training will, before it becomes a record."""

from pathlib import Path, PurePosixPath
from typing import Any

import av
import av.error
import numpy as np

from svilm_jax.input.decoding import VideoError, VideoInfo, decode

from .errors import PreparationError

CHECKED_FRAMES = 8  # spread over the whole video
CHECKED_SIDE = 32  # pixels to which they are scaled
CHECKED_PACKETS = 300  # from the start, that have to decode without exception


def check_video(path: Path) -> tuple[VideoInfo | None, str]:
    """Decodes frames spread over the whole file, so that a truncated one is found out too.

    Stricter than training, which leaves out a packet that does not decode: what it would have changed stays as it was
    until the next key frame, and offline is the time to notice.

    Returns:
      What the file says of itself and "", or None and the reason why it is of no use.
    """
    if not path.is_file():
        return None, "no such file"
    try:
        info = decode(path, _spread, short_side=CHECKED_SIDE, name=path.name).info
    except VideoError as error:
        return None, error.reason
    damage = _damage(path)
    return (None, damage) if damage else (info, "")


def path_inside(folder: Path, name: str, where: str) -> Path:
    """The file `name` of an annotation file below `folder`.

    Args:
      where: file, line and field that named it, for the error.

    Raises:
      PreparationError: an absolute path, or one that leaves the folder, over `..` or over a link.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if not name.strip() or "\0" in name:
        raise PreparationError(f"{where}: {name!r} is no file name")
    if parts.is_absolute() or ".." in parts.parts or Path(name).drive:
        raise PreparationError(f"{where}: {name!r} leads out of the folder of videos; expected a path inside it")
    path = folder / parts
    try:
        there = path.exists()
    except OSError as error:  # a name that no file system takes
        raise PreparationError(f"{where}: {name[:40]!r}...: no file can have that name ({error.strerror})") from error
    if there and not path.resolve().is_relative_to(folder.resolve()):
        raise PreparationError(f"{where}: {name!r} leads out of the folder of videos over a link")
    return path


def _spread(info: VideoInfo) -> np.ndarray:
    """float64 [8] seconds: the centres of equal parts of the video."""
    return (np.arange(CHECKED_FRAMES) + 0.5) / CHECKED_FRAMES * info.duration


def _damage(path: Path) -> str:
    """What is wrong with the first packets of a file that otherwise decodes; "" where nothing is."""
    with av.open(f"file:{path}", metadata_errors="ignore", options={"protocol_whitelist": "file"}) as container:
        stream = picture_stream(container)
        for number, packet in enumerate(container.demux(stream)):
            if number == CHECKED_PACKETS:
                break
            try:
                packet.decode()
            except av.error.FFmpegError as error:
                at = f" at {float(packet.pts * packet.time_base):.2f} s" if packet.pts is not None else ""
                return f"damaged: a packet{at} does not decode ({error.strerror})"
    return ""


def picture_stream(container: Any) -> Any:
    """The video stream of an open file that is no cover picture; decodes in the calling thread."""
    stream = next(s for s in container.streams.video if "attached_pic" not in (s.disposition.name or ""))
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1  # files in parallel, not frames
    return stream
