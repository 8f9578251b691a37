"""Explanations of why a weight file cannot be read, by the actual type of the file."""

from pathlib import Path

from svilm_jax.filesystem.file_signatures import SIGNATURE_BYTES, describe_placeholder


def unreadable(path: Path, error: Exception) -> str:
    """Returns why a file cannot be read: its actual type, if its first bytes show it (an HTML page), else `error`.

    Args:
      path: the file.
      error: message of the reader of the expected format, such as "header too large".
    """
    try:
        with path.open("rb") as file:
            found = describe_placeholder(file.read(SIGNATURE_BYTES))
    except OSError:
        found = None
    # A *.npz is a ZIP archive itself, and a damaged one stays so.
    if found is None or (path.suffix == ".npz" and "ZIP" in found):
        return " ".join(str(error).split()) or type(error).__name__
    return f"it is {found}"
