"""Trial that waits until a file exists, and then is `tests/sweeps/noop_trial.py`; stop signals end it with status 75.

python waiting_trial.py FOLDER FILE
"""

import os
import signal
import sys
import time
from pathlib import Path

NOOP = Path(__file__).parents[1] / "sweeps" / "noop_trial.py"

if __name__ == "__main__":
    folder, file = map(Path, sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: os._exit(75))
    (folder / "waits").touch()
    while not file.exists():
        time.sleep(0.05)
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(NOOP), str(folder), "0"])
