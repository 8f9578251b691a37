"""Early checks of output paths: rejects an unwritable path with a one-line error before any work, creating nothing."""

import os
from pathlib import Path

from svilm_jax.errors import UserError


class OutputError(UserError, ValueError):
    """A path that cannot be written to; the message names the option, the path and what to do."""


def check_output_file(path: Path | None, option: str = "--out") -> None:
    """Rejects a path at which no file can be written; None is accepted.

    Raises:
      OutputError: the path is a folder, a parent is a file, or the folder or the file system is read-only.
    """
    if path is None:
        return
    if path.is_dir():
        raise OutputError(f"{option}={path}: is a folder, expected the name of a file; for example {path / 'out'}")
    _check_parents(path, option)


def check_output_folder(path: Path | None, option: str = "--out") -> None:
    """Rejects a path at which no folder can be created or written to; None is accepted.

    Raises:
      OutputError: the path is a file, a parent is a file, or the folder or the file system is read-only.
    """
    if path is None:
        return
    if path.exists() and not path.is_dir():
        raise OutputError(f"{option}={path}: is a file, expected a folder; choose another")
    if path.is_dir():
        _check_writable(path, path, option)
    else:
        _check_parents(path, option)


def _check_parents(path: Path, option: str) -> None:
    """Rejects a path whose nearest existing parent is not a writable folder."""
    parents = path.absolute().parents
    for parent in parents:
        if parent.is_dir():
            return _check_writable(parent, path, option)
        if os.path.lexists(parent):
            kind = "a file" if parent.exists() else "a dangling link"
            raise OutputError(f"{option}={path}: {parent} is {kind}, expected a folder; choose another path")
    return None


def _check_writable(folder: Path, path: Path, option: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        state = "read-only" if os.statvfs(folder).f_flag & os.ST_RDONLY else "not writable by this user"
        raise OutputError(f"{option}={path}: {folder} is {state}; choose another path")
