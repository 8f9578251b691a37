"""Profiler trace of some training steps, in the layout that TensorBoard and xprof read.

    <workdir>/profile/plugins/profile/steps_<first>_<last>/<host>.<process>.xplane.pb

Each process writes a file of its own; the viewers show those of one folder as the hosts of one run.
"""

import contextlib
import logging
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from svilm_jax.config import ConfigError

log = logging.getLogger(__name__)

FOLDER = "profile"


class StepTrace:
    """Traces the steps of `config.train.profile`. A trace that fails is logged and does not end the training.

    A run that resumes inside the range traces the rest of it.
    """

    def __init__(self, steps: tuple[int, ...], workdir: Path, start: int, total: int):
        """Checks the range; nothing is written yet.

        Args:
          steps: (first, last), counted from 1; empty: no trace.
          workdir: folder of the run.
          start: number of steps that the run has done already.
          total: number of steps of the run.

        Raises:
          ConfigError: steps that the run does not have.
        """
        self._first, self._last = steps or (0, -1)
        if self._last > total:
            raise ConfigError(f"config.train.profile={steps}: expected steps of this run, which has {total}")
        if steps and self._last <= start:
            log.info("config.train.profile=%s: nothing to trace, the run resumes from step %d", steps, start)
        self._first = max(self._first, start + 1)
        self._done = start
        self._workdir = workdir
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @contextlib.contextmanager
    def step(self, number: int, before: Any) -> Iterator[None]:
        """Encloses a step; the trace, if any, shows it under this number.

        Args:
          number: of the step, from 1.
          before: arrays of the step before, whose end is awaited when the trace starts.
        """
        if number == self._first and number <= self._last:
            self._start(before)
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield
        self._done = number

    def ends_with(self, number: int) -> bool:
        """Returns whether a trace is being recorded whose last step this is."""
        return self._folder is not None and number == self._last

    def close(self, after: Any = None) -> None:
        """Writes the trace if one is being recorded, also of fewer steps than were asked for.

        Args:
          after: arrays of the last step, which are awaited before.
        """
        if self._folder is None:
            return
        jax.block_until_ready(after)
        folder, self._folder = self._folder, None
        try:
            with folder:
                jax.profiler.stop_trace()
                self._keep(Path(folder.name))
        except (OSError, RuntimeError) as error:
            self._failed(error)

    def _start(self, before: Any) -> None:
        jax.block_until_ready(before)
        try:
            folder = tempfile.TemporaryDirectory(prefix="svilm_profile_")
            jax.profiler.start_trace(folder.name)
        except (OSError, RuntimeError) as error:
            self._failed(error)
        else:
            self._folder = folder

    def _failed(self, error: Exception) -> None:
        log.warning("no profile from step %d on: %s", self._first, error)

    def _keep(self, written: Path) -> None:
        """Moves the trace to the workdir, renamed: JAX names files by the host, of which processes may share one."""
        target = self._workdir / FOLDER / "plugins" / "profile" / f"steps_{self._first}_{self._done}"
        target.mkdir(parents=True, exist_ok=True)
        for file in written.rglob("*.xplane.pb"):
            name = f"{socket.gethostname()}.{jax.process_index()}.xplane.pb"
            (target / name).write_bytes(file.read_bytes())
        log.info("profile of the steps %d to %d: %s", self._first, self._done, target)
