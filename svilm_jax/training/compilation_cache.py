"""Persistent compilation cache: a resumed or repeated run loads compiled programs instead of compiling them again.

This is JAX's persistent compilation cache. Its key is the program's content, the devices and the versions of JAX and
its compiler, so that runs may share one folder; programs that compile in less than a second are not stored. Of several
processes only process 0 stores programs, so all of them must see its folder.
"""

import importlib.util
import logging
import os
import socket
import time
import uuid
from pathlib import Path

import jax
from etils import epath

from svilm_jax.config import ConfigError
from svilm_jax.parallel import is_lead_process
from svilm_jax.parallel.lost_processes import agree_on, exchange

log = logging.getLogger(__name__)

AUTO = "auto"
_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_LARGEST = 4 * 2**30  # size limit of the default folder in bytes; least recently used programs are removed
_VISIBLE_SECONDS = 15.0  # until a file written on one host must be seen on the others of a network file system


def set_compilation_cache(setting: str) -> str:
    """Sets the folder of the compilation cache. Call it before anything large is compiled, in all processes.

    Args:
      setting: `config.train.compilation_cache`: a folder, also `gs://...` or `s3://...`; "" for none; "auto" for the
        environment variable JAX_COMPILATION_CACHE_DIR if it is set, else `svilm_jax` in the user's cache folder
        ($XDG_CACHE_HOME or ~/.cache), or none if that is not writable or not shared by all processes.

    Returns:
      The folder, "" for none.

    Raises:
      ConfigError: the named folder is not writable, or not shared by all processes.
    """
    several = jax.process_count() > 1
    if setting == AUTO and _VARIABLE in os.environ:
        folder = os.environ[_VARIABLE]
        _leave_objects_to_jax(folder)
        return folder  # JAX has already read it; it may be a folder that can only be read
    folder, named = (_default_folder(several), False) if setting == AUTO else (setting, True)
    folder = str(Path(folder).absolute()) if folder and "://" not in folder else folder
    reason = _unusable(folder) if folder else ""
    if several:
        reason = _not_shared(folder, reason)
    if reason and named:
        raise ConfigError(f"config.train.compilation_cache={folder}: {reason}; name another folder, or '' for none")
    if reason:
        if is_lead_process():
            log.warning("compiled programs are not cached: %s: %s", folder, reason)
        folder = ""
    jax.config.update("jax_compilation_cache_dir", folder or None)
    _leave_objects_to_jax(folder)
    if folder and not named and not several and importlib.util.find_spec("filelock") is not None:
        # JAX needs that package to enforce the limit, and then locks the folder whenever a program is loaded.
        jax.config.update("jax_compilation_cache_max_size", _LARGEST)
    return folder


def _leave_objects_to_jax(folder: str) -> None:
    """Switches off the caches that the compiler itself would write to the same folder, if that is an object store."""
    if "://" in folder:
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def _default_folder(several: bool) -> str:
    """Returns a folder of its own for several processes, which has no limit: its entries lack what a limit needs."""
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home directory
        return ""
    return str(Path(caches) / "svilm_jax" / ("compiled_by_processes" if several else "compiled"))


def _unusable(folder: str) -> str:
    """Returns why a folder, created if missing, is not writable; "" if it is."""
    try:
        if "://" in folder:
            marker = epath.Path(folder) / f".svilm_{uuid.uuid4().hex}"
            marker.write_text("")
            marker.unlink()
            return ""
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"cannot be written to ({error.strerror or error})"
    except Exception as error:  # each object store has error classes of its own
        return f"cannot be written to ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "cannot be written to (no permission)"


def _not_shared(folder: str, reason: str) -> str:
    """Agrees with the other processes on whether all of them see the folder of process 0.

    If some loaded a program that others have to compile, these would wait in vain for the share of the first in tuning
    it on GPUs.

    Args:
      folder: of this process; "" for none.
      reason: why this process cannot use it.

    Returns:
      the same in all processes: why it cannot be used; "" if it can, or if there is none.
    """
    marker = None
    if is_lead_process() and folder and not reason:
        marker = epath.Path(folder) / f".svilm_{uuid.uuid4().hex}"
        marker.write_text("")
    name = agree_on("compilation_cache/marker", marker.name if marker else "")
    if folder and not reason and name:
        deadline = time.monotonic() + _VISIBLE_SECONDS
        while not (seen := (epath.Path(folder) / name).exists()) and time.monotonic() < deadline:
            time.sleep(0.5)
        reason = "" if seen else f"{socket.gethostname()} does not see what process 0 writes there"
    elif folder and not reason:
        reason = "process 0 has none"
    reasons = exchange("compilation_cache/seen", reason)
    if marker:
        marker.unlink()
    return agree_on("compilation_cache/verdict", next(filter(None, reasons), ""))
