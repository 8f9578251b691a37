"""Script of one of two processes that synchronize until one is killed. Arguments: address, number, two times."""

import sys

import jax
from jax.experimental import multihost_utils

from svilm_jax.parallel import initialize_distributed
from svilm_jax.parallel.lost_processes import agree_on, wait_for_verdict

if __name__ == "__main__":
    address, process, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    initialize_distributed(address, 2, process, seconds, join_seconds=int(sys.argv[4]))
    assert agree_on("word", "of process 0" if process == 0 else "of another") == "of process 0"
    assert agree_on("empty", "") == ""
    try:
        multihost_utils.sync_global_devices("first")
        print("together", flush=True)
        while True:
            multihost_utils.sync_global_devices("next")
    except jax.errors.JaxRuntimeError:
        wait_for_verdict()
        raise
