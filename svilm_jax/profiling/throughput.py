"""Training throughput: clips per second and model FLOPs utilization (MFU)."""

import collections
import contextlib
import logging
import time
from collections.abc import Iterator

from svilm_jax.config import Config
from svilm_jax.profiling.device_specs import peak_flops
from svilm_jax.profiling.model_flops import task_flops

log = logging.getLogger(__name__)


WINDOW = 50  # number of steps over which a rate is averaged


class Throughput:
    """Clips per second and MFU over the last steps, without compilation, evaluation and saving."""

    def __init__(self, config: Config):
        self._batch = config.train.batch_size
        # Not counted analytically for the localizer, which only reports clips per second.
        self._flops = task_flops(config) * self._batch
        self._peak, source = peak_flops()
        if self._flops:
            log.info("MFU: %.3g model FLOP per step, peak of %.3g FLOP/s (%s)", self._flops, self._peak, source)
        # Time stamps after each step; the first is that of the step that compiles, from which time is counted.
        self._moments: collections.deque[float] = collections.deque(maxlen=WINDOW + 1)
        self._paused = self._waited = 0.0
        self._waits: collections.deque[float] = collections.deque(maxlen=WINDOW + 1)  # seconds waited up to each stamp

    def tick(self) -> None:
        """Records the end of a step."""
        self._moments.append(time.monotonic() - self._paused)
        self._waits.append(self._waited)

    def scalars(self) -> dict[str, float]:
        """Returns `clips_per_second`, `data_wait_fraction` (of the time, between 0 and 1) and `mfu`.

        Empty for the first few steps, since steps are awaited one step late.
        """
        if len(self._moments) < 4:
            return {}
        seconds = self._moments[-1] - self._moments[0]
        rate = (len(self._moments) - 1) / seconds
        speed = {
            "clips_per_second": rate * self._batch,
            "data_wait_fraction": (self._waits[-1] - self._waits[0]) / seconds,
        }
        return speed | {"mfu": rate * self._flops / self._peak} if self._flops else speed

    def __str__(self) -> str:
        rates = self.scalars()
        parts = [f"{rates['clips_per_second']:.1f} clips/s"] if rates else []
        return ", ".join(parts + ([f"MFU {rates['mfu']:.1%}"] if "mfu" in rates else []))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time inside."""
        start = time.monotonic()
        yield
        self._paused += time.monotonic() - start

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as spent waiting for data."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start
