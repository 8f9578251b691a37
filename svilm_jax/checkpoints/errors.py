"""Errors of saving and reading checkpoints."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from svilm_jax.errors import UserError

# Exceptions of Orbax for files that are missing, truncated or damaged: it wraps TensorStore's errors in several ways.
UNREADABLE = Exception


class CheckpointError(UserError):
    """A folder without a usable checkpoint; the message names it and says what to do."""


def short_reason(error: Exception) -> str:
    """Returns the first line of a possibly long message."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def reading_errors(folder: Path) -> Iterator[None]:
    """Converts errors while reading to ones that name the folder."""
    try:
        yield
    except CheckpointError:
        raise
    except UNREADABLE as error:
        raise CheckpointError(
            f"{folder}: cannot be read ({short_reason(error)}); name another one, WORKDIR/checkpoints/STEP"
        ) from error
