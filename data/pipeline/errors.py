"""Errors of a preparation that its user can resolve."""

import errno
import sqlite3

from svilm_jax.errors import UserError

FULL_DISK = "No space left on device. Results so far are kept: free some space and repeat the command to resume"


class PreparationError(UserError, ValueError):
    """A dataset that cannot be prepared as requested; the message names file, line and field, and what to do."""


def is_full_disk(error: BaseException | None) -> bool:
    """Returns whether an error of the system, of FFmpeg or of SQLite means that a disk or a quota is full."""
    if isinstance(error, sqlite3.Error):
        return "disk is full" in str(error)
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
