"""Script of a process that joins those of its launcher, sums an array over all of them, and prints what it found.

Arguments: name of the run, folder of the compilation cache.
"""

import json
import sys

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

from svilm_jax.parallel import initialize_distributed
from svilm_jax.parallel.distributed import local_process_count
from svilm_jax.parallel.lost_processes import leave_processes
from svilm_jax.training.compilation_cache import set_compilation_cache

if __name__ == "__main__":
    events: list[str] = []
    jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
    launcher = initialize_distributed(run=sys.argv[1])
    set_compilation_cache(sys.argv[2])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    indices = multihost_utils.process_allgather(jnp.array(jax.process_index()))
    found = {
        "launcher": launcher,
        "process": jax.process_index(),
        "local": local_process_count(),
        "indices": indices.tolist(),
        "hits": events.count("/jax/compilation_cache/cache_hits"),
        "requests": events.count("/jax/compilation_cache/compile_requests_use_cache"),
    }
    leave_processes()
    print(json.dumps(found))
