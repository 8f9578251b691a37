"""Error boundary of the command line: expected failures become one line on stderr and an exit status."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import select
import sqlite3
import sys
from typing import Any, TextIO

from svilm_jax.errors import UserError

EXIT_USER = 2  # a mistake of the user, or a machine that cannot do what was asked
EXIT_INTERRUPTED = 130  # Ctrl-C, as shells report it: 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # whoever read stdout has gone: 128 + SIGPIPE

# What an interrupted command leaves behind.
_KEPT = {
    "train": "checkpoints already in --workdir are kept, and the same command resumes from the latest",
    "prepare": "finished checks, re-encoded videos and noun phrases are kept in --out, and the same command resumes",
    "embed": "finished rows already on disk are kept beside --out, and the same command resumes",
    "import": "nothing was written",
    "export": "nothing was written",
    "eval": "nothing was written; metrics are written at the end",
    "compile": "nothing was written",
    "score": "nothing was written",
    "search": "nothing was written",
    "report": "run the same command again for a whole report",
    "inspect": "the dataset was not changed",
}
_REMEDIES = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "free some space or choose another place",
    errno.EFBIG: "choose a place that takes larger files",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EISDIR: "give a file",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EIO: "check the disk",
}

_ARCHIVES = ("zlib", "zipfile", "tarfile", "_lzma")  # modules whose errors mean damage


@dataclasses.dataclass(frozen=True)
class Failure:
    """How a command failed.

    Attributes:
      message: what to print after the name of the command; "" for nothing.
      status: exit status.
    """

    message: str
    status: int = EXIT_USER


def failure(error: BaseException, command: str = "") -> Failure | None:
    """What an exception means to a user; None for what only a programming error can raise, which keeps its traceback.

    Args:
      error: what a command raised.
      command: the sub-command, for what it keeps when interrupted; "" before it is known.
    """
    if isinstance(error, KeyboardInterrupt):
        kept = _KEPT.get(command, "")
        return Failure("interrupted" + (f"; {kept}" if kept else ""), EXIT_INTERRUPTED)
    if isinstance(error, UserError):
        return Failure(str(error))
    if isinstance(error, BrokenPipeError) and _reader_gone(sys.stdout):
        return Failure("", EXIT_BROKEN_PIPE)
    message = _explanation(error)
    return None if message is None else Failure(message)


def escape_unencodable(*streams: TextIO | Any) -> None:
    """Makes streams write characters that their encoding lacks as escapes (`\\u2013`), so that printing never fails."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output(stream: TextIO | Any) -> None:
    """Where a stream cannot be written to, points it at nothing, so that the interpreter's last flush succeeds."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
    except AttributeError:  # no stream at all
        return


def _explanation(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, sqlite3.OperationalError):
        return f"a temporary database cannot be used ({error}); free space beside --out and in $TMPDIR"
    if isinstance(error, UnicodeEncodeError):
        shown = ascii(error.object[max(0, error.start - 20) : error.end + 20])
        return f"text with half a character, {shown}: the input is not valid Unicode; mend or remove it"
    if isinstance(error, UnicodeDecodeError):
        return f"a text file that is not UTF-8 ({error.reason} at byte {error.start}); convert it with iconv"
    if isinstance(error, (EOFError, json.JSONDecodeError)) or type(error).__module__ in _ARCHIVES:
        return f"a damaged file ({' '.join(str(error).split()) or type(error).__name__}); -v shows where it is read"
    if isinstance(error, MemoryError):
        return "out of memory; give it less at once, or a machine with more"
    if isinstance(error, RecursionError):
        return "an input is nested too deeply"
    if isinstance(error, ModuleNotFoundError) and (error.name or "svilm").partition(".")[0][:5] != "svilm":
        return f"needs the Python package {error.name!r}, which is not installed"
    if told := _of_backend(error):
        return told
    return _of_runtime(" ".join(str(error).split())) if isinstance(error, RuntimeError) else None


def _of_system(error: OSError) -> str:
    reason = error.strerror if isinstance(error.strerror, str) else " ".join(str(error).split())
    places = [os.fsdecode(p) for p in (error.filename, error.filename2) if isinstance(p, (str, bytes, os.PathLike))]
    remedy = _REMEDIES.get(error.errno or 0, "")
    return f"{' -> '.join(places)}{': ' if places else ''}{reason or type(error).__name__}" + (remedy and f"; {remedy}")


def _of_runtime(message: str) -> str | None:
    """Of errors that C++ libraries raise as RuntimeError: a device without memory, a disk that is full."""
    for number, remedy in _REMEDIES.items():
        if (reason := os.strerror(number)) in message:
            return f"{reason} ({message[:300]}); {remedy}"
    if message.startswith("RESOURCE_EXHAUSTED"):
        return f"the device is out of memory ({message[:200]}); use smaller batches or a smaller model"
    return None


def _of_backend(error: BaseException) -> str | None:
    """Of the errors that JAX raises where the devices of JAX_PLATFORMS are not there; None for all others.

    For some it raises an AssertionError without a word, and it hides its own frames: whether that was the reason shows
    when it is asked for its devices once more.
    """
    asked = os.environ.get("JAX_PLATFORMS", "")
    if not asked or "jax" not in sys.modules or not isinstance(error, (RuntimeError, AssertionError)):
        return None
    try:
        sys.modules["jax"].devices()
    except (RuntimeError, AssertionError) as missing:
        reason = " ".join(str(missing).split()).partition(" (set JAX_PLATFORMS")[0]
        why = f" ({reason})" if reason else ""
        return f"JAX_PLATFORMS={asked}: no such device here{why}; unset it, or install the extra for that device"
    return None


def _reader_gone(stream: TextIO | Any) -> bool:
    """Whether a stream is a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False
