"""Lookup of the video files in a folder by the names in annotation files.

The same dataset is kept under various names: `v_abc.mp4`, `abc.mkv`, `train/abc.webm`, `ApplyEyeMakeup/v_...avi`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.videos import path_inside

from svilm_jax.video.folders import SUFFIXES, SkippedVideo, walk_files


class VideoFolder:
    """The video files in a folder, by path, by name and by name without ending.

    Names are compared case-insensitively if there is no exact match. Memory: about 300 bytes per file.

    Attributes:
      left_out: files that cannot be used.
    """

    def __init__(self, folder: Path):
        """Lists `folder`; raises `PreparationError` if it is not a folder."""
        if not folder.is_dir():
            raise PreparationError(f"--videos {folder}: no such folder")
        self.folder, self.left_out = folder, SkippedVideo()
        self._by: dict[str, list[str]] = {}
        self._by_lower: dict[str, list[str]] = {}  # of names that are not in lower case
        for path, stem, name, name_stem, video in listed_files(folder, self.left_out):
            if video:
                for key in dict.fromkeys((path, stem, name, name_stem)):
                    self._by.setdefault(key, []).append(path)
                    if key.lower() != key:
                        self._by_lower.setdefault(key.lower(), []).append(path)

    def knows(self, name: str) -> bool:
        """Returns whether a file has a name; checks only the list, not the disk."""
        return bool(self._paths(name))

    def find(self, names: Iterable[str], where: str) -> Path:
        """Returns the file with one of the names; the first name with a matching file decides.

        Args:
          names: best first; with or without folders and ending.
          where: location of the reference, for errors.

        Returns:
          The file; if there is none, the path for the first name, so that it is counted as missing.

        Raises:
          PreparationError: several files match a name, or a name points outside the folder.
        """
        names = list(names)
        for name in names:
            path_inside(self.folder, name, where)
            found = self._paths(name)
            if len(found) > 1:
                # The same clip in two containers is a common result of conversion; the same name in two folders may be
                # two different clips.
                stems = {str(PurePosixPath(path).with_suffix("")) for path in found}
                if len(stems) > 1:
                    told = " and ".join(repr(path) for path in found[:2])
                    raise PreparationError(f"{where}: {name!r} may be {told}: keep one of them below --videos")
            if found:
                return path_inside(self.folder, found[0], where)
        return self.folder / names[0]

    def _paths(self, name: str) -> list[str]:
        """Returns all files with a name, sorted; case-insensitively if none matches exactly."""
        low = name.lower()
        return sorted(set(self._by.get(name) or [*self._by.get(low, ()), *self._by_lower.get(low, ())]))


def listed_files(folder: Path, left_out: SkippedVideo | None = None) -> Iterator[tuple[str, str, str, str, int]]:
    """Yields the relative path and its parts for every file except hidden ones; linked folders are not followed.

    Args:
      folder: to list.
      left_out: receives unusable files.
    """
    for file, video in walk_files(folder, SkippedVideo() if left_out is None else left_out, _refuse):
        path, name = file.relative_to(folder).as_posix(), file.name
        yield path, without_ending(path), name, without_ending(name), int(video)


def _refuse(error: OSError) -> None:
    raise PreparationError(f"--videos: {error.filename} cannot be listed ({error.strerror})")


def without_ending(path: str) -> str:
    """Removes the ending of a video file; dots inside names ("panda.18") are not endings."""
    suffix = PurePosixPath(path).suffix
    return path[: -len(suffix)] if suffix and (suffix.lower() in SUFFIXES or not suffix[1:].isdigit()) else path
