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


def main() -> None:
    folder, seconds = sys.argv[1], float(sys.argv[2])
    status, times = [*map(int, sys.argv[3:]), *(0, 10**9)[len(sys.argv) - 3 :]][:2]
    descriptor = os.open(f"{folder}/starts", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(descriptor, b"x")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
    time.sleep(seconds)
    if status and os.path.getsize(f"{folder}/starts") <= times:
        print(f"svilm train: ends with {status}", file=sys.stderr)
        sys.exit(status)
    with open(f"{folder}/trial_config.json") as file:
        config = json.load(file)
    with open(f"{folder}/metrics.jsonl", "w") as file:
        for step in (1, 2, 3):
            file.write(json.dumps({"step": step, "loss/total": config["optimizer.learning_rate"] / step}) + "\n")
    with open(f"{folder}/.metrics.tmp", "w") as file:
        json.dump({"score": config["train.seed"] / 7, "train/steps": 3, "train/seconds": time.time()}, file)
    os.replace(f"{folder}/.metrics.tmp", f"{folder}/metrics.json")


if __name__ == "__main__":
    main()
