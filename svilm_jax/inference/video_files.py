"""Resolution of video files and folders named by a user into a list of video files."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from svilm_jax.errors import UserError
from svilm_jax.video.folders import SUFFIXES, SkippedVideo, walk_files

_NAMED = 3  # number of files named in an error


class EmbeddingError(UserError, ValueError):
    """Videos that cannot be embedded as requested; the message names them and what to do."""


@dataclasses.dataclass(frozen=True)
class VideoFile:
    """State of a file when it was listed.

    Attributes:
      path: absolute; links are not resolved, so that it is the name the user knows.
      size: bytes.
      mtime_ns: modification time, nanoseconds.
    """

    path: str
    size: int
    mtime_ns: int


def list_videos(sources: Iterable[Path], left_out: SkippedVideo | None = None) -> list[VideoFile]:
    """Returns every video of the given files and folders, once, in their order; folders recursively and sorted.

    Hidden files in folders are skipped; linked folders are not followed.

    Args:
      sources: files and folders.
      left_out: receives the unusable files in folders.

    Raises:
      EmbeddingError: a missing path, a folder without a video or that cannot be listed, or a file name that is not
        UTF-8.
    """
    left_out = SkippedVideo() if left_out is None else left_out
    found: dict[str, VideoFile] = {}
    for source in sources:
        if source.is_dir():
            known = len(left_out.files)
            paths = [path for path, video in walk_files(source, left_out, _refuse) if video and path.is_file()]
            if not paths:
                unusable = "; ".join(f"{path}: {reason}" for path, reason in left_out.files[known:][:_NAMED])
                raise EmbeddingError(
                    f"{source}: no video below this folder (files that end in {', '.join(sorted(SUFFIXES)[:6])}, ...)"
                    + (f"; left out: {unusable}" if unusable else "")
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


def _refuse(error: OSError) -> None:
    raise EmbeddingError(f"{error.filename}: cannot be listed ({error.strerror})")
