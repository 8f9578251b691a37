"""Importance of the keys of a sweep for a metric: shares of its variance, by Optuna's functional ANOVA.

Source: Hutter, Hoos and Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, ICML 2014. Optuna
(extra `search`) fits a random forest to the settings and attributes the variance of its prediction to the keys.
"""

import dataclasses
import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

from svilm_jax.sweeps.settings import Setting

_FEWEST_SETTINGS = 4  # with fewer, a forest has nothing to split


@dataclasses.dataclass(frozen=True)
class Importance:
    """Share of the variance of a metric over the settings that is due to one key, 0 to 1."""

    key: str
    share: float


def estimate_importances(settings: Sequence[Setting], keys: Sequence[str], metric: str) -> list[Importance]:
    """Estimates how much each key of a sweep matters for a metric.

    Args:
      settings: of the sweep; the value of a setting is the mean of the metric over its seeds.
      keys: swept keys, without seeds.
      metric: name of the metric.

    Returns:
      One entry per key that takes several values, the largest share first. Empty if there are fewer than two such keys
      or fewer than four measured settings, if the metric is constant, or if Optuna is not installed.
    """
    measured = [s for s in settings if metric in s.metrics and math.isfinite(s.metrics[metric].mean)]
    columns = {key: [_plain(setting.changes.get(key)) for setting in measured] for key in keys}
    columns = {key: values for key, values in columns.items() if len(set(values)) > 1}
    scores = [setting.metrics[metric].mean for setting in measured]
    if len(columns) < 2 or len(measured) < _FEWEST_SETTINGS or len(set(scores)) == 1:
        return []
    try:
        import optuna
    except ModuleNotFoundError:
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {key: _distribution(values) for key, values in columns.items()}
    study = optuna.create_study()
    for row, score in enumerate(scores):
        params = {key: values[row] for key, values in columns.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=score))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an experimental part of Optuna says so at every call
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return sorted((Importance(key, share) for key, share in shares.items()), key=lambda one: -one.share)


def _plain(value: Any) -> float | str:
    """Returns numbers as floats, and everything else as JSON."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return json.dumps(value)


def _distribution(values: Sequence[float | str]) -> Any:
    """Returns the distribution of a key: an interval if all values are numbers, otherwise categories."""
    import optuna

    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) == len(values):
        return optuna.distributions.FloatDistribution(min(numbers), max(numbers))
    return optuna.distributions.CategoricalDistribution(list(dict.fromkeys(values)))
