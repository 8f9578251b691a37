"""The workdir of a run, held by one run at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from svilm_jax.locks import LockError, locked
from svilm_jax.output_paths import OutputError, check_output_folder
from svilm_jax.parallel import is_first
from svilm_jax.parallel.lost_processes import agree_on

LOCK = ".lock"


@contextlib.contextmanager
def held_workdir(workdir: Path) -> Iterator[None]:
    """Holds the lock of a workdir for a run of one or more processes, of which process 0 takes it.

    Folders that are made for the lock are removed again where nothing was written into them.

    Raises:
      LockError: another run holds it; every process of this run raises.
      OutputError: it cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        error: LockError | OutputError | None = None
        if is_first():
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
    made = [folder for folder in (workdir, *workdir.absolute().parents) if not folder.exists()]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--workdir={workdir}: cannot be written to ({error.strerror}); choose another") from error
    try:
        with locked(workdir / LOCK, f"--workdir={workdir}"):
            yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: something was written
                folder.rmdir()
