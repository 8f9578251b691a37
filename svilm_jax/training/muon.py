"""Muon optimizer for matrices, active from a configurable step; Adam before that and for all other parameters.

Muon (arXiv 2502.16982) replaces the momentum of a matrix by the nearest matrix whose singular values are all one, so
that rare directions are updated as fast as common ones. Scaled as in section 2.2 of that report (`rms` 0.2), its
entries are as large as those of an AdamW update, and one learning rate serves both.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib


class SwitchState(NamedTuple):
    """Number of steps taken, and the states of both."""

    steps: jax.Array
    first: Any
    second: Any


def scale_by_muon(
    adam: optax.GradientTransformation, matrices: Callable[[Any], Any], momentum: float, rms: float, start: int | None
) -> optax.GradientTransformation:
    """Updates matrices by Adam for `start` steps and then by Muon; all other parameters by Adam.

    The structure of the state is the same for every number `start`, so that a run can be resumed with another one.

    Args:
      adam: transformation for all other parameters; not yet scaled by a learning rate.
      matrices: params -> the same tree of bools, True for a matrix that multiplies activations.
      momentum: momentum of Muon, with Nesterov.
      rms: root mean square of the entries of Muon's update at learning rate 1.
      start: first step of Muon, from 0; None: Muon from the first step, without state of Adam for matrices.
    """
    # `optax.contrib.muon` for matrices only: its own Adam part would share Nesterov momentum and epsilon with Muon. Its
    # learning rate of -1 cancels the sign of a descent step, which the schedule applies later.
    muon = optax.contrib.muon(
        learning_rate=-1.0,
        beta=momentum,
        consistent_rms=rms,
        muon_weight_dimension_numbers=_last_two_axes,
    )
    moved = {"matrix": muon if start is None else switch(adam, muon, start), "other": adam}
    return optax.partition(moved, lambda params: jax.tree.map(lambda m: "matrix" if m else "other", matrices(params)))


def switch(
    first: optax.GradientTransformation, second: optax.GradientTransformation, step: int
) -> optax.GradientTransformation:
    """Applies the updates of `first` for `step` steps, then those of `second`; both see every gradient.

    Both are always computed: with a branch instead, a run on two CPU cores was no faster.
    """

    def init(params: Any) -> SwitchState:
        return SwitchState(jnp.zeros((), jnp.int32), first.init(params), second.init(params))

    def update(gradients: Any, state: SwitchState, params: Any = None) -> tuple[Any, SwitchState]:
        before, first_state = first.update(gradients, state.first, params)
        after, second_state = second.update(gradients, state.second, params)
        updates = jax.tree.map(lambda a, b: jnp.where(state.steps < step, a, b), before, after)
        return updates, SwitchState(optax.safe_increment(state.steps), first_state, second_state)

    return optax.GradientTransformation(init, update)


def _last_two_axes(params: Any) -> Any:
    """Returns the matrix axes; a stack of layers has a leading axis."""
    return jax.tree.map(lambda leaf: optax.contrib.MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1), params)
