"""Exclusive lock files: one process at a time writes to a workdir, an index, an exported model or a dataset.

The operating system holds the lock (`flock`) and releases it when the process ends for any reason, so that a lock file
left behind by a killed process never blocks the next run. The content of the file names the holder of the lock and is
used only for the error message.
"""

import contextlib
import datetime as dt
import errno
import fcntl
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from svilm_jax.errors import UserError

log = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # errors of file systems without `flock`
_TRIES, _PAUSE_SECONDS = 5, 0.02  # `holder_of` has a lock for a few microseconds
_held: set[int] = set()  # file descriptors of this process


class LockError(UserError):
    """An output that another process is writing, or that cannot be locked; the message names the holder."""


@contextlib.contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Holds the lock `file`, whose folder must exist, inside the context.

    Args:
      file: the lock file; it is removed at the end.
      what: name of the locked output in errors.

    Raises:
      LockError: another process holds the lock, or the file cannot be written.
    """
    descriptor = _acquire(file, what)
    _held.add(descriptor)
    try:
        yield
    finally:
        _held.discard(descriptor)
        # Removed before it is unlocked: a process that opened it meanwhile detects this and creates a new one.
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # explicitly, since a forked child may share the open file
        os.close(descriptor)


@contextlib.contextmanager
def locked_output(path: Path) -> Iterator[None]:
    """Holds the lock of an output file or folder inside the context: `.NAME.lock` in the same folder.

    Raises:
      LockError: another process writes it, or its folder cannot be created or written to.
    """
    output = path.absolute()
    with created_folder(output.parent, str(path)), locked(output.with_name(f".{output.name}.lock"), str(path)):
        yield


@contextlib.contextmanager
def created_folder(folder: Path, what: str) -> Iterator[None]:
    """Creates a folder and its parents; those that it created are removed at the end if they are empty.

    Raises:
      LockError: it cannot be created.
    """
    created = [parent for parent in (folder, *folder.absolute().parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LockError(f"{what}: cannot be written to ({error.strerror}); choose another place") from error
    try:
        yield
    finally:
        for parent in created:
            with contextlib.suppress(OSError):  # not empty
                parent.rmdir()


def holder_of(file: Path) -> dict[str, Any] | None:
    """Looks at a lock without keeping others from it.

    Returns:
      pid, host, command and since of the process that holds it, which may be missing; None if it is free.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else _read_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _acquire(file: Path, what: str) -> int:
    while True:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise LockError(f"{what}: cannot be written to ({error.strerror}); choose another place") from error
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise LockError(f"{what}: in use by {holder}; wait until it ends, or choose another place") from error
            log.warning("%s: this file system has no locks; make sure that no other process writes there", what)
        if _is_at(descriptor, file):
            break
        os.close(descriptor)  # the previous holder removed the file after it was opened here
    _write_holder(descriptor)
    return descriptor


def _lock(descriptor: int) -> None:
    """Locks a file that at most another process only looks at."""
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not left:
                raise
            time.sleep(_PAUSE_SECONDS)


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    """Writes the description of this process into the lock file."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    since = dt.datetime.now().astimezone().isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": since})
    with contextlib.suppress(OSError):  # such as a full disk: the lock is held nevertheless
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{text}\n".encode(errors="replace"), 0)


def _holder(descriptor: int) -> str:
    """Describes the holder of the lock."""
    holder = _read_holder(descriptor)
    try:
        return f"process {holder['pid']} on {holder['host']} ({holder['command']}) since {holder['since']}"
    except KeyError:
        return "another process"  # which has not written its description yet


def _read_holder(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 1 << 16, 0))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _close_in_child() -> None:
    """Closes the lock files in a forked child, which must not keep its parent's locks."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
