"""Is a video file usable? Checked by decoding it as training will, before it becomes a record."""

from pathlib import Path, PurePosixPath

import numpy as np

from svilm_jax.input.decoding import VideoError, VideoInfo, decode

from .errors import PreparationError

CHECKED_FRAMES = 8  # spread over the whole video


def check_video(path: Path) -> tuple[VideoInfo | None, str]:
    """Decodes frames spread over the whole file, so that a truncated one is found out too.

    Returns:
      What the file says of itself and "", or None and the reason why it is of no use.
    """
    if not path.is_file():
        return None, "no such file"
    try:
        return decode(path, _spread, short_side=32, name=path.name).info, ""
    except VideoError as error:
        return None, error.reason


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
    if path.exists() and not path.resolve().is_relative_to(folder.resolve()):
        raise PreparationError(f"{where}: {name!r} leads out of the folder of videos over a link")
    return path


def _spread(info: VideoInfo) -> np.ndarray:
    """float64 [8] seconds: the centres of equal parts of the video."""
    return (np.arange(CHECKED_FRAMES) + 0.5) / CHECKED_FRAMES * info.duration
