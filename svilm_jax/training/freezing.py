"""Frozen parameters and per-parameter learning-rate multipliers."""

from collections.abc import Callable
from typing import Any

import jax

from svilm_jax.config import ConfigError, InitConfig
from svilm_jax.models.parameters import HEAD, Params, named, path_name


def update_scales(config: InitConfig, fresh: tuple[str, ...] | None) -> Callable[[Params], Any] | None:
    """Returns the update multipliers of a run: params -> a tree of factors, or None where every factor is 1.

    A factor is 0 for frozen parameters, `learning_rate_scale` for parameters restored from a checkpoint, else 1.

    Args:
      config: which parameters are frozen, and the scale of restored ones.
      fresh: name prefixes that a checkpoint leaves newly initialized, besides the head; None without a checkpoint.
    """
    scale = config.learning_rate_scale if fresh is not None else 1.0
    if not config.freeze and scale == 1.0:
        return None

    new = (HEAD, *(fresh or ()))

    def factors(params: Params) -> Any:
        fully = jax.tree_util.tree_map_with_path(lambda path, _: path_name(path).startswith(new), params)
        still = frozen(params, config.freeze)
        return jax.tree.map(lambda f, s: 0.0 if s else 1.0 if f else scale, fully, still)

    return factors


def frozen(params: Params, prefixes: tuple[str, ...]) -> Any:
    """Returns a tree of bools, True for every parameter whose name starts with one of the prefixes.

    Raises:
      ConfigError: a prefix matches no parameter.
    """
    names = list(named(params))
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            known = sorted({name.split(".")[0] for name in names})
            raise ConfigError(f"config.init.freeze: no parameter starts with {prefix!r}; the first parts are {known}")
    return jax.tree_util.tree_map_with_path(lambda path, _: path_name(path).startswith(prefixes), params)
