"""Detection of lost processes in a distributed run; the remaining ones exit with a distinct status and message.

Every process sends heartbeats through JAX's coordination service; process 0 monitors them and announces a lost process
to all others. JAX has heartbeats as well, but aborts the process when they stop, with a native stack trace and without
naming the lost one, so its timeout is set beyond this one. Process 0 hosts that service: when it dies, JAX aborts the
others at once, and a SIGABRT handler turns that into the same status.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from jax._src import distributed  # JAX has no public access to its key-value store; Orbax uses the same

from svilm_jax.errors import EXIT_STOPPED

EXIT_LOST_PROCESS = 71  # EX_OSERR: another process of the run is gone; the same command resumes
_BEATS, _VERDICT = "svilm/beat/", "svilm/lost"
_LEFT, _FAILED = "left", "failed "  # states of a process instead of its heartbeat number; its status and reason follow

_watch: "ProcessWatch | None" = None


def _end(message: str, status: int = EXIT_LOST_PROCESS) -> None:
    """Prints the message and ends the process without waiting for collectives that never complete."""
    with contextlib.suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"svilm train: {message}\n".encode())
    os._exit(status)


class ProcessWatch:
    """Thread that sends the heartbeats of this process and watches for lost ones."""

    def __init__(
        self, client: Any, process: int, processes: int, seconds: float, end: Callable[[str, int], None] = _end
    ):
        """Prepares the watch.

        `client`: of the coordination service; `seconds` without a heartbeat until a process counts as lost; `end` is
        called with the message and the exit status, and does not return.
        """
        self._client, self._process, self._processes, self._end = client, process, processes, end
        self.seconds = seconds
        self._interval = min(5.0, max(0.1, seconds / 10))
        self._name = f"{socket.gethostname()}, pid {os.getpid()}"
        self._seen = dict.fromkeys(range(processes), ("", time.monotonic()))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process watch", daemon=True)

    def start(self) -> None:
        """Starts sending heartbeats and watching."""
        self._thread.start()

    def leave(self, failure: str = "", status: int = 1) -> None:
        """Stops; the other processes no longer expect heartbeats, or learn at once why this one ended.

        With a `failure` they end as well, with the same `status`: what starts a run again must not take the mistake of
        a user, which one process found, for a process that was lost.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(Exception):  # the service may be gone already
            state = f"{_FAILED}{status} {' '.join(failure.split())}" if failure else _LEFT
            if failure and self._process == 0:
                self._client.key_value_set(_VERDICT, self._failed(0, self._name, state))
            self._beat(state)

    def wait_for_verdict(self) -> None:
        """Blocks until a lost process would have been detected; if there is one, this process ends here."""
        time.sleep(self.seconds + 4 * self._interval)

    def _run(self) -> None:
        count = 0
        while not self._stop.wait(self._interval if count else 0):
            count += 1
            # A failing call is no evidence: for the service itself, the limit of JAX's own heartbeats applies.
            with contextlib.suppress(Exception):
                self._beat(str(count))
                if verdict := self._look() if self._process == 0 else self._try_get(_VERDICT):
                    self._obey(verdict)
                    return

    def _obey(self, verdict: str) -> None:
        """Ends this process, once the others are informed."""
        if self._process == 0:
            self._client.key_value_set(_VERDICT, verdict)
            time.sleep(2 * self._interval)  # the others read it before their service goes
        if not verdict.startswith(_FAILED):
            self._end(verdict, EXIT_LOST_PROCESS)
            return
        # The failed process waits at its exit for all the others, and keeps its own status if they arrive.
        with contextlib.suppress(Exception):
            self._client.shutdown()
        time.sleep(self._interval)
        status, _, message = verdict.removeprefix(_FAILED).partition(" ")
        self._end(message, int(status))

    def _beat(self, state: str) -> None:
        self._client.key_value_set(f"{_BEATS}{self._process}", f"{self._name}\n{state}", allow_overwrite=True)

    def _look(self) -> str:
        """Returns the message about a lost process; "" if all are alive."""
        beats = {int(key.rpartition("/")[2]): value for key, value in self._client.key_value_dir_get(_BEATS)}
        now = time.monotonic()
        for process in range(1, self._processes):
            beat = beats.get(process, "")
            name, _, state = beat.partition("\n")
            if state.startswith(_FAILED):
                return self._failed(process, name, state)
            if beat != self._seen[process][0]:
                self._seen[process] = (beat, now)
            silent = now - self._seen[process][1]
            if state != _LEFT and silent > self.seconds:
                return self._lost(process, name, silent)
        return ""

    def _try_get(self, key: str) -> str:
        try:
            return str(self._client.key_value_try_get(key))
        except Exception as error:
            if "NOT_FOUND" in str(error):
                return ""
            raise

    def _lost(self, process: int, name: str, seconds: float) -> str:
        return (
            f"process {process} of {self._processes} ({name or 'no contact'}) is lost: it has sent no heartbeat "
            f"for {seconds:.0f} s (config.train.lost_process_seconds={self.seconds:g}). The same command resumes all "
            "processes from the latest checkpoint"
        )

    def _failed(self, process: int, name: str, state: str) -> str:
        status, _, reason = state.removeprefix(_FAILED).partition(" ")
        did = "was stopped" if int(status) == EXIT_STOPPED else "failed"
        return f"{_FAILED}{status} process {process} of {self._processes} ({name}) {did}, which ends all: {reason}"


def watch_processes(seconds: float) -> None:
    """Starts the watch of this process, after distributed initialization."""
    global _watch
    state = distributed.global_state
    _watch = ProcessWatch(state.client, state.process_id, state.num_processes, seconds)
    _watch.start()
    if state.process_id:
        _handle_abort(str(state.coordinator_address))


def leave_processes(failure: str = "", status: int = 1) -> None:
    """Ends the watch of this process if there is one; see `ProcessWatch.leave`."""
    if _watch is not None:
        _watch.leave(failure, status)


def wait_for_verdict() -> None:
    """After a failed collective: ends this process if another one is lost, and returns otherwise."""
    if _watch is not None:
        _watch.wait_for_verdict()


def agree_on(name: str, mine: str, timeout: float = 600.0) -> str:
    """Broadcasts a text from process 0 to every process; a single process gets its own.

    Args:
      name: key, used once in a run.
      mine: the text of process 0; that of the others is ignored.
      timeout: seconds to wait for process 0.
    """
    client = distributed.global_state.client
    if client is None:
        return mine
    if distributed.global_state.process_id == 0:
        client.key_value_set(f"svilm/{name}", mine or "-")
        return mine
    said = str(client.blocking_key_value_get(f"svilm/{name}", int(1000 * timeout)))
    return "" if said == "-" else said


def exchange(name: str, mine: str, timeout: float = 600.0) -> list[str]:
    """Collects a text of every process in process 0.

    Args:
      name: key, used once in a run.
      mine: the text of this process.
      timeout: seconds to wait for the others.

    Returns:
      in process 0, the texts in any order; an empty list in the others.
    """
    state = distributed.global_state
    state.client.key_value_set(f"svilm/{name}/{state.process_id}", mine)
    state.client.wait_at_barrier(f"svilm/{name}", int(1000 * timeout))
    if state.process_id:
        return []
    return [str(text) for _, text in state.client.key_value_dir_get(f"svilm/{name}/")]


def _handle_abort(coordinator: str) -> None:
    """Turns SIGABRT into the status of a lost process if the coordinator is gone; otherwise it aborts as before.

    A native handler, since a Python handler waits for the main thread, which a lost process may block forever.
    """

    def on_abort(number: int) -> None:
        address, _, port = coordinator.rpartition(":")
        try:
            socket.create_connection((address.strip("[]"), int(port)), timeout=5).close()
        except (OSError, ValueError) as error:
            _end(
                f"process 0, the coordinator at {coordinator}, is lost ({error}). The same command resumes all "
                "processes from the latest checkpoint"
            )

    global _on_abort
    _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_abort)
    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = (ctypes.c_int, type(_on_abort)), ctypes.c_void_p
    library.signal(signal.SIGABRT, _on_abort)


_on_abort: Any = None  # kept alive as long as the process
