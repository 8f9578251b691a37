"""Persistent compilation cache: a resumed or repeated run loads compiled programs instead of compiling them again.

This is JAX's persistent compilation cache. Its key is the program's content, the devices and the versions of JAX and
its compiler, so that runs may share one folder; programs that compile in less than a second are not stored.
"""

import importlib.util
import logging
import os
from pathlib import Path

import jax

from svilm_jax.config import ConfigError

log = logging.getLogger(__name__)

AUTO = "auto"
_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_LARGEST = 4 * 2**30  # size limit of the default folder in bytes; least recently used programs are removed


def set_compilation_cache(setting: str) -> Path | None:
    """Sets the folder of the compilation cache. Call it before anything large is compiled.

    Args:
      setting: `config.train.compilation_cache`: a folder; "" for none; "auto" for the environment variable
        JAX_COMPILATION_CACHE_DIR if it is set, else `svilm_jax` in the user's cache folder ($XDG_CACHE_HOME or
        ~/.cache), or none if that is not writable.

    Returns:
      The folder, None for none.

    Raises:
      ConfigError: the named folder is not writable.
    """
    if setting == AUTO and _VARIABLE in os.environ:
        return Path(os.environ[_VARIABLE]) if os.environ[_VARIABLE] else None  # JAX has already read it
    folder = _default_folder() if setting == AUTO else Path(setting) if setting else None
    if folder is not None and (reason := _unusable(folder)):
        if setting != AUTO:
            raise ConfigError(
                f"config.train.compilation_cache={setting}: cannot be written to ({reason}); name another folder, or "
                "'' for none"
            )
        log.info("compiled programs are not cached: %s cannot be written to (%s)", folder, reason)
        folder = None
    jax.config.update("jax_compilation_cache_dir", None if folder is None else str(folder.absolute()))
    if folder is not None and setting == AUTO and importlib.util.find_spec("filelock") is not None:
        jax.config.update("jax_compilation_cache_max_size", _LARGEST)  # JAX needs that package to enforce the limit
    return folder


def _default_folder() -> Path | None:
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home directory
        return None
    return Path(caches) / "svilm_jax" / "compiled"


def _unusable(folder: Path) -> str:
    """Returns why a folder, created if missing, is not writable; "" if it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(folder, os.W_OK | os.X_OK) else "no permission"
