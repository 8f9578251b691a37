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

from svilm_jax.errors import EXIT_INTERRUPTED, UserError

EXIT_USER = 2  # invalid input, or an environment that lacks something the command needs
EXIT_BROKEN_PIPE = 141  # the reader of stdout has exited: 128 + SIGPIPE

# Command -> what is left on disk after an interruption.
_KEPT = {
    "train": "checkpoints already in --workdir are kept, and the same command resumes from the latest",
    "prepare": "finished checks, re-encoded videos and noun phrases are kept in --out, and the same command resumes",
    "extract-features": "finished videos are kept in --out, and the same command resumes",
    "embed": "finished rows are kept next to --out, and the same command resumes",
    "import": "nothing was written",
    "export": "nothing was written",
    "sweep": "finished trials are kept in --out, and the same command continues",
    "status": "nothing was changed",
    "eval": "nothing was written; metrics are written at the end",
    "compile": "nothing was written",
    "score": "nothing was written",
    "search": "nothing was written",
    "report": "the report may be incomplete; run the same command again",
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

_ARCHIVES = ("zlib", "zipfile", "tarfile", "_lzma")  # modules whose errors indicate a damaged file


@dataclasses.dataclass(frozen=True)
class Failure:
    """An expected failure of a command.

    Attributes:
      message: one line, printed after the name of the command; "": nothing is printed.
      status: exit status.
    """

    message: str
    status: int = EXIT_USER


def failure(error: BaseException, command: str = "") -> Failure | None:
    """Classifies an exception.

    Args:
      error: the exception that a command raised.
      command: name of the subcommand; "" if it is not known yet.

    Returns:
      The failure to report, or None for a programming error, whose traceback the user should see.
    """
    if isinstance(error, KeyboardInterrupt):
        kept = _KEPT.get(command, "")
        return Failure("interrupted" + (f"; {kept}" if kept else ""), EXIT_INTERRUPTED)
    if isinstance(error, UserError):
        return Failure(str(error), error.exit_status)
    if isinstance(error, BrokenPipeError) and _reader_gone(sys.stdout):
        return Failure("", EXIT_BROKEN_PIPE)
    message = _explanation(error)
    return None if message is None else Failure(message)


def escape_unencodable(*streams: TextIO | Any) -> None:
    """Makes streams escape characters that their encoding lacks (an en dash in ASCII), so that printing never fails."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output(stream: TextIO | Any) -> None:
    """Redirects a stream that cannot be written to, so that the interpreter's final flush succeeds."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
    except AttributeError:  # stdout is None
        return


def _explanation(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if isinstance(error, sqlite3.OperationalError):
        return f"a temporary database cannot be used ({error}); free space at --out and in $TMPDIR"
    if isinstance(error, UnicodeEncodeError):
        part = ascii(error.object[max(0, error.start - 20) : error.end + 20])
        return f"text with an unpaired surrogate, {part}: the input is not valid Unicode; correct or remove it"
    if isinstance(error, UnicodeDecodeError):
        return f"a text file that is not UTF-8 ({error.reason} at byte {error.start}); convert it with iconv"
    if isinstance(error, (EOFError, json.JSONDecodeError)) or type(error).__module__ in _ARCHIVES:
        return f"a damaged file ({' '.join(str(error).split()) or type(error).__name__}); -v shows where it is read"
    if isinstance(error, MemoryError):
        return "out of memory; reduce the size of the input or of a batch, or use a machine with more memory"
    if isinstance(error, RecursionError):
        return "an input is nested too deeply"
    if isinstance(error, ModuleNotFoundError) and (error.name or "svilm").partition(".")[0][:5] != "svilm":
        return f"needs the Python package {error.name!r}, which is not installed"
    if explanation := _explain_missing_device(error):
        return explanation
    return _explain_runtime_error(" ".join(str(error).split())) if isinstance(error, RuntimeError) else None


def _explain_os_error(error: OSError) -> str:
    reason = error.strerror if isinstance(error.strerror, str) else " ".join(str(error).split())
    places = [os.fsdecode(p) for p in (error.filename, error.filename2) if isinstance(p, (str, bytes, os.PathLike))]
    remedy = _REMEDIES.get(error.errno or 0, "")
    return f"{' -> '.join(places)}{': ' if places else ''}{reason or type(error).__name__}" + (remedy and f"; {remedy}")


def _explain_runtime_error(message: str) -> str | None:
    """Explains a RuntimeError of a C++ library: out of device memory, or a full disk; None for others."""
    for number, remedy in _REMEDIES.items():
        if (reason := os.strerror(number)) in message:
            return f"{reason} ({message[:300]}); {remedy}"
    if message.startswith("RESOURCE_EXHAUSTED"):
        return f"the device is out of memory ({message[:200]}); use smaller batches or a smaller model"
    return None


def _explain_missing_device(error: BaseException) -> str | None:
    """Explains an error of JAX that is due to missing devices of JAX_PLATFORMS; returns None for others.

    Some of these are an AssertionError without a message, and JAX removes its frames from the traceback. Asking for the
    devices again tells whether they are the cause.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if not platforms or "jax" not in sys.modules or not isinstance(error, (RuntimeError, AssertionError)):
        return None
    try:
        sys.modules["jax"].devices()
    except (RuntimeError, AssertionError) as missing:
        reason = " ".join(str(missing).split()).partition(" (set JAX_PLATFORMS")[0]
        detail = f" ({reason})" if reason else ""
        return f"JAX_PLATFORMS={platforms}: no such device here{detail}; unset it, or install the extra for that device"
    return None


def _reader_gone(stream: TextIO | Any) -> bool:
    """Returns whether a stream is a pipe whose reader has exited."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False
