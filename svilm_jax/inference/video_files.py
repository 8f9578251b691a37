"""Which video files does a user mean? Files as they are named, and what lies below folders."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from svilm_jax.errors import UserError

# By these endings a file below a folder counts as a video; a file that is named itself may have any. The same as of
# `svilm_data.video_folder`, which is no part of this package: a test compares them.
SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".flv", ".f4v", ".wmv", ".asf", ".mpg", ".mpeg")
    + (".m1v", ".m2v", ".mpv", ".vob", ".ts", ".m2ts", ".mts", ".ogv", ".ogg", ".3gp", ".3g2", ".mxf", ".gif", ".rm")
    + (".rmvb", ".dv", ".nut", ".y4m", ".ivf", ".h264", ".264", ".h265", ".265", ".hevc", ".av1", ".obu", ".mjpeg")
)


class EmbeddingError(UserError, ValueError):
    """Videos that cannot be embedded as asked; the message names them and what to do."""


@dataclasses.dataclass(frozen=True)
class VideoFile:
    """A file at the time it was listed.

    Attributes:
      path: absolute; links are not resolved, so that it is the name the user knows.
      size: bytes.
      mtime_ns: time of change, nanoseconds.
    """

    path: str
    size: int
    mtime_ns: int


def list_videos(sources: Iterable[Path]) -> list[VideoFile]:
    """Every video of the files and folders given, once, in their order; folders recursively and sorted.

    Hidden files are left out below folders; linked folders are not followed.

    Raises:
      EmbeddingError: nothing there, a folder without a video or that cannot be listed, or a name that is not UTF-8.
    """
    found: dict[str, VideoFile] = {}
    for source in sources:
        if source.is_dir():
            paths = list(_below(source))
            if not paths:
                raise EmbeddingError(
                    f"{source}: no video below this folder (files that end in {', '.join(sorted(SUFFIXES)[:6])}, ...)"
                )
        elif source.is_file():
            paths = [source]
        else:
            raise EmbeddingError(f"{source}: no such file or folder")
        for path in paths:
            name = os.path.abspath(path)  # noqa: PTH100 - `Path.resolve` would follow links
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise EmbeddingError(f"{os.fsencode(name)!r}: a name that is not UTF-8: rename the file") from error
            state = path.stat()
            found[name] = VideoFile(name, state.st_size, state.st_mtime_ns)
    if not found:
        raise EmbeddingError("no videos given: name files or folders")
    return list(found.values())


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def _refuse(error: OSError) -> None:
    raise EmbeddingError(f"{error.filename}: cannot be listed ({error.strerror})")
