"""Runs the parts of the report, each in a separate process, within a time limit."""

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from experiments.accelerator.table import device_name, format_summary, load


@dataclasses.dataclass(frozen=True)
class Entry:
    """A part of the report; parts are listed by priority.

    Attributes:
      name: module of `experiments.accelerator`.
      min_seconds: remaining time below which it is not started.
      max_seconds: time limit.
    """

    name: str
    min_seconds: float
    max_seconds: float


PARTS = (
    Entry("environment", 15, 45),
    Entry("correctness", 40, 130),
    Entry("train_step", 60, 230),
    Entry("kernels", 30, 90),
    Entry("end_to_end", 60, 140),
    Entry("demo", 50, 200),
)
GRACE = 10.0  # seconds past its limit after which a part is killed


def main() -> int:
    """Runs the parts; returns 0 if all that ran succeeded, else 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.accelerator", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--seconds", type=float, default=540.0, help="time limit of all parts together (default: 540)")
    parser.add_argument("--smoke", action="store_true", help="run every part in miniature, on a CPU")
    parser.add_argument("--only", nargs="*", default=[], choices=[part.name for part in PARTS], metavar="PART")
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in PARTS if not args.only or part.name in args.only]
    statuses: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, (args.out / "log.txt").open("w") as log:
        for number, part in enumerate(chosen):
            left = end - time.monotonic() - GRACE
            later = sum(other.min_seconds for other in chosen[number + 1 :])
            seconds = min(part.max_seconds, max(left - later, part.min_seconds))
            if args.smoke:
                seconds, left = 600.0, 600.0  # generous, since a busy machine may be slow
            if left < part.min_seconds:
                statuses.append({"part": part.name, "status": "skipped", "reason": f"{max(left, 0):.0f} s left"})
            else:
                statuses.append(_run(part.name, args.out, Path(scratch), min(seconds, left), args.smoke, log))
            _write(args.out, statuses, args.smoke)
            if not args.smoke and load(args.out)["environment"].get("platform") == "cpu":
                print("JAX finds no accelerator: install jax[cuda12] or jax[tpu], or run --smoke", file=sys.stderr)
                return 1
    print(format_summary(load(args.out)))
    return int(any(status["status"] not in ("ok", "skipped") for status in statuses))


def _run(name: str, out: Path, scratch: Path, seconds: float, smoke: bool, log: Any) -> dict[str, Any]:
    """Runs a part; returns its status, with the end of its output if it failed."""
    print(f"{name}: at most {seconds:.0f} s", flush=True)
    file = out / f"{name}.json"
    file.unlink(missing_ok=True)  # left by an earlier run
    command = [sys.executable, "-m", f"experiments.accelerator.{name}", f"--out={file}", f"--scratch={scratch}"]
    command += [f"--seconds={seconds}"] + ["--smoke"] * smoke
    started = time.monotonic()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment(scratch, smoke),
        errors="replace", start_new_session=True,
    )  # fmt: skip
    tail: collections.deque[str] = collections.deque(maxlen=60)
    reader = threading.Thread(target=_copy, args=(child.stdout, log, tail), daemon=True)
    reader.start()
    try:
        status = "ok" if child.wait(seconds + GRACE) == 0 else "failed"
    except subprocess.TimeoutExpired:
        status = "out of time"
    finally:
        _kill(child)
    reader.join(10.0)  # a process that outlives the part in its own session may keep the pipe open
    summary = {"part": name, "status": status, "seconds": round(time.monotonic() - started, 1)}
    return summary if status == "ok" else summary | {"returncode": child.returncode, "output": "".join(tail)}


def _copy(stream: Any, log: Any, tail: collections.deque[str]) -> None:
    """Copies the output of a part to the log, keeps its end, and prints the rows of its tables."""
    for line in stream:
        log.write(line)
        log.flush()
        tail.append(line)
        if line.startswith("  "):
            print(line, end="", flush=True)


def _environment(scratch: Path, smoke: bool) -> dict[str, str]:
    """Returns the environment: a shared compilation cache, and memory on demand, to leave room for the peer."""
    added = {
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compilations"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }
    if smoke:
        added |= {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return {**os.environ, **added}


def _kill(child: subprocess.Popen) -> None:
    """Kills a child process and its descendants."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _write(out: Path, statuses: list[dict[str, Any]], smoke: bool) -> None:
    document = {"device": device_name(load(out)), "smoke": smoke, "parts": statuses}
    (out / "summary.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
