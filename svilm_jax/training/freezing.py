"""Frozen parameters and per-group learning-rate multipliers."""

from typing import Any

import jax
import optax

from svilm_jax.config import ConfigError, InitConfig
from svilm_jax.models.parameters import HEAD, Params, named, path_name


def scale_by_group(config: InitConfig, fresh: tuple[str, ...] | None) -> optax.GradientTransformation:
    """Returns the last stage of an optimizer, which scales the updates of each group of parameters.

    The factor is 0 for frozen parameters, `learning_rate_scale` for parameters restored from a checkpoint, else 1. The
    stage has the same empty state for every config, so that a run can be resumed with other factors.

    Args:
      config: which parameters are frozen, and the factor of restored ones.
      fresh: name prefixes that a checkpoint leaves newly initialized, besides the head; None without a checkpoint.
    """
    full_rate = (HEAD, *(fresh or ()))

    def group(path: tuple[Any, ...], _: Any) -> str:
        name = path_name(path)
        if name.startswith(config.freeze):
            return "frozen"
        return "fresh" if fresh is None or name.startswith(full_rate) else "restored"

    transforms = {
        "frozen": optax.set_to_zero(),
        "restored": optax.scale(config.learning_rate_scale),
        "fresh": optax.identity(),
    }
    return optax.partition(transforms, lambda params: jax.tree_util.tree_map_with_path(group, params))


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
