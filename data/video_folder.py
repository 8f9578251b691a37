"""Which file of the user's folder is the video that an annotation file names?

People keep the same dataset under several names: `v_abc.mp4`, `abc.mkv`, `train/abc.webm`, `ApplyEyeMakeup/v_...avi`.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from .errors import PreparationError
from .videos import path_inside

# By these endings a file counts as a video, where it has to be told from its thumbnail or its JSON file.
SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".flv", ".f4v", ".wmv", ".asf", ".mpg", ".mpeg")
    + (".m1v", ".m2v", ".mpv", ".vob", ".ts", ".m2ts", ".mts", ".ogv", ".ogg", ".3gp", ".3g2", ".mxf", ".gif", ".rm")
    + (".rmvb", ".dv", ".nut", ".y4m", ".ivf", ".h264", ".264", ".h265", ".265", ".hevc", ".av1", ".obu", ".mjpeg")
)


class VideoFolder:
    """The video files below a folder, by path, by name and by name without ending.

    Names are compared with case ignored after the exact ones failed. Held in memory: about 300 bytes a file.
    """

    def __init__(self, folder: Path):
        """Lists `folder`; raises `PreparationError` where it is none."""
        if not folder.is_dir():
            raise PreparationError(f"--videos {folder}: no such folder")
        self.folder = folder
        self._by: dict[str, list[str]] = {}
        self._by_lower: dict[str, list[str]] = {}  # of names that are not in lower case
        for path, stem, name, name_stem, video in listed_files(folder):
            if video:
                for key in dict.fromkeys((path, stem, name, name_stem)):
                    self._by.setdefault(key, []).append(path)
                    if key.lower() != key:
                        self._by_lower.setdefault(key.lower(), []).append(path)

    def knows(self, name: str) -> bool:
        """Whether a file goes by a name; asks the list alone, not the disk."""
        return bool(self._paths(name))

    def find(self, names: Iterable[str], where: str) -> Path:
        """The file that goes by one of the names, the first name that any file fits deciding.

        Args:
          names: best first; with or without folders and ending.
          where: who asks, for errors.

        Returns:
          The file; where there is none, the path that the first name would have, so that it is counted as missing.

        Raises:
          PreparationError: several files fit a name, or a name leads out of the folder.
        """
        names = list(names)
        for name in names:
            path_inside(self.folder, name, where)
            found = self._paths(name)
            if len(found) > 1:
                # The same clip in two containers is a habit of those who converted; the same name in two folders may
                # be two clips.
                stems = {str(PurePosixPath(path).with_suffix("")) for path in found}
                if len(stems) > 1:
                    told = " and ".join(repr(path) for path in found[:2])
                    raise PreparationError(f"{where}: {name!r} may be {told}: keep one of them below --videos")
            if found:
                return path_inside(self.folder, found[0], where)
        return self.folder / names[0]

    def _paths(self, name: str) -> list[str]:
        """All files that go by a name, sorted; case ignored where none goes by exactly this one."""
        low = name.lower()
        return sorted(set(self._by.get(name) or [*self._by.get(low, ()), *self._by_lower.get(low, ())]))


def listed_files(folder: Path) -> Iterator[tuple[str, str, str, str, int]]:
    """Path below the folder and its parts of every file, hidden ones left out; linked folders are not followed."""
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = (Path(place) / name).relative_to(folder).as_posix()
            if name.startswith(".") or not _encodable(path):
                continue
            yield (
                path,
                without_ending(path),
                name,
                without_ending(name),
                int(PurePosixPath(name).suffix.lower() in SUFFIXES),
            )


def _refuse(error: OSError) -> None:
    raise PreparationError(f"--videos: {error.filename} cannot be listed ({error.strerror})")


def _encodable(path: str) -> bool:
    """Whether a file name is text at all: one that is no UTF-8 cannot be named by an annotation file either."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def without_ending(path: str) -> str:
    """A path without the ending of a video file; dots inside names ("panda.18") are not endings."""
    suffix = PurePosixPath(path).suffix
    return path[: -len(suffix)] if suffix and (suffix.lower() in SUFFIXES or not suffix[1:].isdigit()) else path
