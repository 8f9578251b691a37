"""Recursive listing of the video files in a folder, with a report of those that cannot be used."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# File name endings of videos, which distinguish them from thumbnails and JSON files in the same folder.
SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".flv", ".f4v", ".wmv", ".asf", ".mpg", ".mpeg")
    + (".m1v", ".m2v", ".mpv", ".vob", ".ts", ".m2ts", ".mts", ".ogv", ".ogg", ".3gp", ".3g2", ".mxf", ".gif", ".rm")
    + (".rmvb", ".dv", ".nut", ".y4m", ".ivf", ".h264", ".264", ".h265", ".265", ".hevc", ".av1", ".obu", ".mjpeg")
)
NOT_UTF8, NO_TARGET = "a name that is not UTF-8: rename the file", "a link to a file that is not there"
_NAMED = 3  # number of files named in a note


class SkippedVideo:
    """Files in a folder that have a video ending and cannot be used.

    Attributes:
      files: (printable path, reason), in the order found.
    """

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []

    def add(self, path: Path, reason: str) -> None:
        """Adds a file; bytes of its name that are not UTF-8 are shown as escapes."""
        self.files.append((os.fsencode(path).decode("utf-8", "backslashreplace"), reason))

    def notes(self) -> dict[str, str]:
        """Returns a note for each reason; empty if no file was skipped."""
        notes = {}
        for reason in dict.fromkeys(reason for _, reason in self.files):
            paths = [path for path, other in self.files if other == reason]
            more = ", ..." if len(paths) > _NAMED else ""
            notes[f"video files left out, {reason}"] = f"{len(paths)} ({', '.join(paths[:_NAMED])}{more})"
        return notes


def walk_files(folder: Path, left_out: SkippedVideo, refuse: Callable[[OSError], None]) -> Iterator[tuple[Path, bool]]:
    """Yields (path, whether it has a video ending) of the files in a folder, recursively, sorted within each folder.

    Hidden files and folders are skipped; linked folders are not followed.

    Args:
      folder: folder to list.
      left_out: receives the videos that cannot be used: names that are not UTF-8, and broken links.
      refuse: called with the error of a folder that cannot be listed; raises its own.
    """
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = Path(place, name)
            video = path.suffix.lower() in SUFFIXES
            if not _encodable(str(path)):
                if video:
                    left_out.add(path, NOT_UTF8)
            elif video and path.is_symlink() and not path.exists():
                left_out.add(path, NO_TARGET)
            else:
                yield path, video


def _encodable(path: str) -> bool:
    """Returns whether a path is valid text: annotation files and indexes can contain no other paths."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
