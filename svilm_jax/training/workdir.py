"""The workdir of a run, held by one run at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from svilm_jax.filesystem.locks import LockError, created_folder, locked
from svilm_jax.filesystem.output_paths import OutputError, check_output_folder
from svilm_jax.parallel import is_lead_process
from svilm_jax.parallel.lost_processes import agree_on

LOCK = ".lock"


@contextlib.contextmanager
def held_workdir(workdir: Path) -> Iterator[None]:
    """Holds the lock of a workdir for a run of one or more processes, of which process 0 acquires it.

    Raises:
      LockError: another run holds it; every process of this run raises.
      OutputError: it is not writable.
    """
    with contextlib.ExitStack() as stack:
        error: LockError | OutputError | None = None
        if is_lead_process():
            try:
                stack.enter_context(_locked(workdir))
            except (LockError, OutputError) as refused:
                error = refused
        said = agree_on("workdir", str(error or ""))
        if error is not None:
            raise error
        if said:
            raise LockError(said)
        yield


@contextlib.contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    check_output_folder(workdir, "--workdir")
    name = f"--workdir={workdir}"
    with created_folder(workdir, name), locked(workdir / LOCK, name):
        yield
