"""How fast does training go? Clips a second and model FLOPs utilisation (MFU)."""

import contextlib
import logging
import time
from collections.abc import Iterator

from svilm_jax.config import Config
from svilm_jax.models.flops import train_flops
from svilm_jax.parallel import peak_flops

log = logging.getLogger(__name__)


class Pace:
    """Clips a second and model FLOPs utilisation, over the time since the last report; compilation is left out."""

    def __init__(self, config: Config, start: int):
        self._batch = config.train.batch_size
        self._flops = train_flops(config.model, config.input.nouns) * self._batch
        self._peak, source = peak_flops()
        log.info("MFU counts %.3g model FLOP a step against %.3g FLOP/s (%s)", self._flops, self._peak, source)
        self._first = start  # its step compiles
        self._since: float | None = None
        self._steps = 0

    def tick(self, step: int) -> str:
        """After each step; a line for the progress bar."""
        if step == self._first or self._since is None:
            self._since, self._steps = time.monotonic(), 0
            return ""
        self._steps += 1
        rates = self.scalars(step, reset=False)
        return f"{rates['clips_per_second']:.1f} clips/s, MFU {rates['mfu']:.1%}" if rates else ""

    def scalars(self, step: int, reset: bool = True) -> dict[str, float]:
        """`clips_per_second` and `mfu` since the last report."""
        if self._since is None or not self._steps:
            return {}
        rate = self._steps / (time.monotonic() - self._since)
        if reset:
            self._since, self._steps = time.monotonic(), 0
        return {"clips_per_second": rate * self._batch, "mfu": rate * self._flops / self._peak}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        start = time.monotonic()
        yield
        if self._since is not None:
            self._since += time.monotonic() - start
