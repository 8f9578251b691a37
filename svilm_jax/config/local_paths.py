"""Validation of input and output paths: only files and folders of the local file system are supported.

Support for object stores and URLs would be added here.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.config.errors import ConfigError

# `Path` merges the two slashes of a scheme: "gs://b/m" is Path("gs:/b/m"). A scheme has at least two letters, which
# distinguishes it from a Windows drive.
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/")


def scheme_of(path: object) -> str:
    """Returns the scheme of `scheme://...`, or "" for a local path."""
    found = _SCHEME.match(str(path))
    return found.group(1) if found else ""


def require_local(path: object, name: str) -> None:
    """Rejects `scheme://` paths.

    Args:
      path: text or a `Path`.
      name: name of the path in messages, such as `out`.

    Raises:
      ConfigError: the path has a scheme.
    """
    if scheme := scheme_of(path):
        text = re.sub(r":/+", "://", str(path), count=1)
        raise ConfigError(
            f"{name}={text}: {scheme}:// is not supported; give a path on this machine, such as a mounted folder"
        )


def require_local_arguments(arguments: Mapping[str, Any], also: Iterable[str] = ()) -> None:
    """Checks the paths among parsed command-line arguments.

    Args:
      arguments: name -> value; every `Path` is checked.
      also: names of arguments whose values are paths as text.

    Raises:
      ConfigError: one of them has a scheme.
    """
    for name, value in arguments.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, Path) or (name in also and isinstance(one, str)):
                require_local(one, name.replace("_", "-"))
