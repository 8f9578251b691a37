"""Command line, time limit and incrementally written JSON result of one part of the report."""

import argparse
import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Part:
    """Result of a part, written to disk after every change.

    Attributes:
      smoke: whether to run in miniature.
      folder: folder with the results of earlier parts.
      scratch: temporary folder for data, checkpoints and traces.
    """

    def __init__(self, out: Path, seconds: float, smoke: bool, scratch: Path):
        self.smoke, self.folder, self.scratch = smoke, out.parent, scratch
        self._out, self._end = out, time.monotonic() + seconds
        self._document: dict[str, Any] = {"ok": True, "failures": []}

    @property
    def seconds_left(self) -> float:
        """Remaining time in seconds."""
        return self._end - time.monotonic()

    @property
    def ok(self) -> bool:
        """Whether no check has failed."""
        return self._document["ok"]

    def note(self, **values: Any) -> None:
        """Adds values to the result."""
        self._document |= values
        self._write()

    def add(self, table: str, **row: Any) -> None:
        """Appends a row to one of the tables of the result, and prints it."""
        self._document.setdefault(table, []).append(row)
        self._write()
        print("  " + "  ".join(f"{key} {_format(value)}" for key, value in row.items()), flush=True)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Returns the rows of a table so far."""
        return self._document.get(table, [])

    def value(self, name: str) -> Any:
        """Returns a value added by `note`, or None."""
        return self._document.get(name)

    def fail(self, name: str, reason: str) -> None:
        """Records a failed check."""
        self._document["ok"] = False
        self._document["failures"].append({"name": name, "reason": reason})
        self._write()
        print(f"  FAILED {name}: {reason.strip().splitlines()[-1]}", flush=True)

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Records an exception inside as a failure, with its traceback, and continues."""
        try:
            yield
        except Exception:
            self.fail(name, traceback.format_exc()[-4000:])

    def read(self, part: str) -> dict[str, Any]:
        """Returns the result of an earlier part; empty if it did not run."""
        file = self.folder / f"{part}.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def _write(self) -> None:
        partial = self._out.with_suffix(".partial")
        partial.write_text(json.dumps(self._document, indent=1) + "\n")
        partial.replace(self._out)


def run_part(run: Callable[[Part], None]) -> None:
    """Entry point of `python -m experiments.accelerator.NAME`; exit status 1 if a check failed."""
    parser = argparse.ArgumentParser(description=sys.modules[run.__module__].__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the result")
    parser.add_argument("--scratch", type=Path, required=True, help="temporary folder")
    parser.add_argument("--seconds", type=float, default=600.0, help="time limit")
    parser.add_argument("--smoke", action="store_true", help="run in miniature")
    args = parser.parse_args()
    part = Part(args.out, args.seconds, args.smoke, args.scratch)
    part.note()
    with part.attempt(args.out.stem):
        run(part)
    sys.stdout.flush()
    os._exit(0 if part.ok else 1)  # without waiting for unneeded compilations


def _format(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
