"""Trial that trains nothing: waits, and writes metrics that follow from its config.

    python noop_trial.py FOLDER SECONDS [STATUS [TIMES]]

With STATUS, it ends with that status the first TIMES times (default: always). SIGTERM ends it with status 75; the time
that it waited is kept.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    status, times = [*map(int, sys.argv[3:]), *(0, 10**9)[len(sys.argv) - 3 :]][:2]
    with (folder / "starts").open("a") as file:
        file.write("x")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
    time.sleep(seconds)
    if status and (folder / "starts").stat().st_size <= times:
        print(f"svilm train: ends with {status}", file=sys.stderr)
        sys.exit(status)
    config = json.loads((folder / "trial_config.json").read_text())
    lines = [{"step": step, "loss/total": config["optimizer.learning_rate"] / step} for step in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = {"score": config["train.seed"] / 7, "train/steps": 3, "train/seconds": time.time()}
    (folder / ".metrics.tmp").write_text(json.dumps(metrics))
    (folder / ".metrics.tmp").replace(folder / "metrics.json")


if __name__ == "__main__":
    main()
