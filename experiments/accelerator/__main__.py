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
    """A part in the order of worth.

    Attributes:
      name: module of `experiments.accelerator`.
      least: seconds below which it is not started.
      most: seconds that it may take.
    """

    name: str
    least: float
    most: float


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
    """Returns 0 where every part that ran is right, else 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.accelerator", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--seconds", type=float, default=540.0, help="for all parts together (default: 540)")
    parser.add_argument("--smoke", action="store_true", help="every part in miniature, for a CPU")
    parser.add_argument("--only", nargs="*", default=[], choices=[part.name for part in PARTS], metavar="PART")
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in PARTS if not args.only or part.name in args.only]
    statuses: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, (args.out / "log.txt").open("w") as log:
        for number, part in enumerate(chosen):
            left = end - time.monotonic() - GRACE
            later = sum(other.least for other in chosen[number + 1 :])
            seconds = min(part.most, max(left - later, part.least))
            if args.smoke:
                seconds, left = 600.0, 600.0  # a busy machine may take its time; nothing here waits for nothing
            if left < part.least:
                statuses.append({"part": part.name, "status": "skipped", "reason": f"{max(left, 0):.0f} s were left"})
            else:
                statuses.append(_run(part.name, args.out, Path(scratch), min(seconds, left), args.smoke, log))
            _write(args.out, statuses, args.smoke)
            if not args.smoke and load(args.out)["environment"].get("platform") == "cpu":
                print("JAX finds no accelerator: install jax[cuda12] or jax[tpu], or run --smoke", file=sys.stderr)
                return 1
    print(format_summary(load(args.out)))
    return int(any(status["status"] not in ("ok", "skipped") for status in statuses))


def _run(name: str, out: Path, scratch: Path, seconds: float, smoke: bool, log: Any) -> dict[str, Any]:
    """Runs a part; returns its status, with the end of its output where it failed."""
    print(f"{name}: at most {seconds:.0f} s", flush=True)
    file = out / f"{name}.json"
    file.unlink(missing_ok=True)  # of an earlier run
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
    reader.join(10.0)  # what outlives the part in a session of its own may hold the pipe open
    told = {"part": name, "status": status, "seconds": round(time.monotonic() - started, 1)}
    return told if status == "ok" else told | {"returncode": child.returncode, "output": "".join(tail)}


def _copy(stream: Any, log: Any, tail: collections.deque[str]) -> None:
    """Copies the output of a part to the log, keeps its end, and shows the rows of its tables."""
    for line in stream:
        log.write(line)
        log.flush()
        tail.append(line)
        if line.startswith("  "):
            print(line, end="", flush=True)


def _environment(scratch: Path, smoke: bool) -> dict[str, str]:
    """Shared compilations; memory as it is needed, so that a peer in another process has room."""
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
    """Ends a child with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _write(out: Path, statuses: list[dict[str, Any]], smoke: bool) -> None:
    document = {"device": device_name(load(out)), "smoke": smoke, "parts": statuses}
    (out / "summary.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
