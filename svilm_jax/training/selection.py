"""Selection of the best checkpoint by a metric of the evaluators, and early stopping.

Both are functions of the metrics that are stored with the checkpoints: a resumed run selects as if it had not stopped.
"""

import logging
from collections.abc import Mapping

from svilm_jax.config import BestConfig, Config, ConfigError, nearest

log = logging.getLogger(__name__)


def check_selection(config: Config) -> None:
    """Rejects a selection that nothing measures.

    Raises:
      ConfigError: naming the key.
    """
    train = config.train
    if unknown := sorted(set(train.evaluators) - set(config.evaluators)):
        raise ConfigError(
            f"config.train.evaluators={train.evaluators}: no evaluator {unknown[0]!r}"
            f"{nearest(unknown[0], config.evaluators)}; config.evaluators has {', '.join(config.evaluators) or 'none'}"
        )
    if train.best.metric and not (train.eval_every and config.evaluators):
        raise ConfigError(
            f"config.train.best.metric={train.best.metric!r}: nothing measures it during training; set "
            "config.train.eval_every and config.evaluators"
        )


class Selection:
    """The best checkpoint so far.

    Attributes:
      best: its step and value; None before the first evaluation, and where the config selects none.
    """

    def __init__(self, config: BestConfig, eval_every: int, best: tuple[int, float] | None):
        """`best`: of the checkpoints that a resumed run finds."""
        self._config, self._eval_every, self.best = config, eval_every, best

    @property
    def enabled(self) -> bool:
        """Whether the config names a metric."""
        return bool(self._config.metric)

    def evaluates(self, step: int, total: int) -> bool:
        """Returns whether evaluators run after `step` steps; a run that selects also needs those of its last step."""
        due = self._eval_every and step % self._eval_every == 0
        return self.enabled if step == total else bool(due)

    def record(self, step: int, measured: Mapping[str, float]) -> dict[str, float] | None:
        """Records an evaluation and returns what to store with its checkpoint; None if there is nothing.

        Raises:
          ConfigError: no evaluation so far has yielded the metric.
        """
        if not self.enabled:
            return None
        name = self._config.metric
        value = measured.get(name)
        if value is None:
            if self.best is None:
                known = ", ".join(sorted(measured)) or "none"
                raise ConfigError(
                    f"config.train.best.metric={name!r}: not among the metrics of the evaluators"
                    f"{nearest(name, measured)}; they are {known}"
                )
            log.warning("step %d: no value of %s, by which the best checkpoint is chosen", step, name)
            return None
        if self.best is None or self._improves(value, self.best[1]):
            self.best = (step, value)
            log.info("step %d: %s %.6g, the best so far", step, name, value)
        return {name: value}

    def is_over(self, step: int) -> bool:
        """Returns whether `patience` evaluations before `step` have not improved on the best value."""
        if not self._config.patience or self.best is None:
            return False
        return step - self.best[0] >= self._config.patience * self._eval_every

    def _improves(self, value: float, best: float) -> bool:
        return value > best if self._config.mode == "max" else value < best
