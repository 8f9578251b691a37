"""Lookup of the video files in a folder by the names in annotation files.

Copies of one dataset name their files in various ways: `v_abc.mp4`, `abc.mkv`, `train/abc.webm`,
`ApplyEyeMakeup/v_...avi`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from svilm_data.pipeline.errors import PreparationError

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
        self._by_name: dict[str, list[str]] = {}
        self._by_lower_name: dict[str, list[str]] = {}  # names that are not in lower case
        for path, stem, name, name_stem, video in list_files(folder, self.left_out):
            if video:
                for key in dict.fromkeys((path, stem, name, name_stem)):
                    self._by_name.setdefault(key, []).append(path)
                    if key.lower() != key:
                        self._by_lower_name.setdefault(key.lower(), []).append(path)

    def contains(self, name: str) -> bool:
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
            paths = self._paths(name)
            if len(paths) > 1:
                # The same clip in two containers is a common result of conversion; the same name in two folders may be
                # two different clips.
                stems = {str(PurePosixPath(path).with_suffix("")) for path in paths}
                if len(stems) > 1:
                    candidates = " and ".join(repr(path) for path in paths[:2])
                    raise PreparationError(f"{where}: {name!r} matches {candidates}: keep one of them below --videos")
            if paths:
                return path_inside(self.folder, paths[0], where)
        return self.folder / names[0]

    def _paths(self, name: str) -> list[str]:
        """Returns all files with a name, sorted; case-insensitively if none matches exactly."""
        low = name.lower()
        return sorted(set(self._by_name.get(name) or [*self._by_name.get(low, ()), *self._by_lower_name.get(low, ())]))


def list_files(folder: Path, left_out: SkippedVideo | None = None) -> Iterator[tuple[str, str, str, str, int]]:
    """Yields the relative path and its parts for every file except hidden ones; linked folders are not followed.

    Args:
      folder: to list.
      left_out: receives unusable files.
    """
    for file, video in walk_files(folder, SkippedVideo() if left_out is None else left_out, _refuse):
        path, name = file.relative_to(folder).as_posix(), file.name
        yield path, without_ending(path), name, without_ending(name), int(video)


def path_inside(folder: Path, name: str, where: str) -> Path:
    """Returns the path of file `name` of an annotation file below `folder`.

    Args:
      folder: folder that must contain the file.
      name: relative path, as written in the annotation file.
      where: file, line and field of the name, for the error.

    Raises:
      PreparationError: an absolute path, or one that leaves the folder, by `..` or by a link.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if not name.strip() or "\0" in name:
        raise PreparationError(f"{where}: {name!r} is not a file name")
    if parts.is_absolute() or ".." in parts.parts or Path(name).drive:
        raise PreparationError(f"{where}: {name!r} is outside the folder of videos; expected a path inside it")
    path = folder / parts
    try:
        exists = path.exists()
    except OSError as error:  # a name that the file system does not allow
        raise PreparationError(f"{where}: {name[:40]!r}...: no file can have that name ({error.strerror})") from error
    if exists and not path.resolve().is_relative_to(folder.resolve()):
        raise PreparationError(f"{where}: {name!r} is outside the folder of videos, through a link")
    return path


def _refuse(error: OSError) -> None:
    raise PreparationError(f"--videos: {error.filename} cannot be listed ({error.strerror})")


def without_ending(path: str) -> str:
    """Removes the ending of a video file; dots inside names ("panda.18") are not endings."""
    suffix = PurePosixPath(path).suffix
    return path[: -len(suffix)] if suffix and (suffix.lower() in SUFFIXES or not suffix[1:].isdigit()) else path
