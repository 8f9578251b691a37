"""Atomic writes: a file or directory appears under its name only when it is complete."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path, *, unique: bool = False, sync: bool = False) -> Iterator[Path]:
    """Yields a temporary path in the same folder, to be written; it is renamed to `path` at the end.

    After an exception `path` is as it was, and what was written is removed. A killed process leaves the temporary
    file, which the next write of the same path replaces unless it is `unique`.

    Args:
      path: of the file or directory. A file that exists is replaced; a directory must not exist, or be empty.
      unique: whether other processes may write the same path at the same time; the last one to end wins.
      sync: whether the file has to be on the disk before it is renamed, so that it also survives a power failure.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp" if unique else f".{path.name}.tmp")
    _remove(temporary)
    try:
        yield temporary
        if sync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        if temporary.is_dir() and path.is_dir():
            path.rmdir()
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
