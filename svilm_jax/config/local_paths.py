"""Validation of input and output paths: only files and folders of the local file system are supported.

Support for object stores and URLs would be added here.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.config.errors import ConfigError

# `Path` folds the two slashes of a scheme into one: "gs://b/m" is Path("gs:/b/m"). A scheme has two letters or more,
# which keeps the drives of Windows apart.
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/")


def scheme_of(path: object) -> str:
    """The scheme of `scheme://...`, or "" for a path of this machine."""
    found = _SCHEME.match(str(path))
    return found.group(1) if found else ""


def require_local(path: object, what: str) -> None:
    """Refuses `scheme://` paths.

    Args:
      path: text or a `Path`.
      what: how the message names it, such as `out`.

    Raises:
      ConfigError: the path has a scheme.
    """
    if scheme := scheme_of(path):
        text = re.sub(r":/+", "://", str(path), count=1)
        raise ConfigError(
            f"{what}={text}: {scheme}:// is not supported; give a path on this machine, such as a mounted folder"
        )


def require_local_arguments(arguments: Mapping[str, Any], also: Iterable[str] = ()) -> None:
    """Checks the paths among parsed command-line arguments: every `Path`, and the text of the arguments `also`.

    Raises:
      ConfigError: one of them has a scheme.
    """
    for name, value in arguments.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, Path) or (name in also and isinstance(one, str)):
                require_local(one, name.replace("_", "-"))
