"""Train state carried from step to step, and its placement on the mesh."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svilm_jax.config import Config
from svilm_jax.models.parameters import Params, abstract_model, parameters
from svilm_jax.models.svilm import build_model
from svilm_jax.parallel import parameter_shardings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and writes.

    Attributes:
      step: int32 scalar, number of steps taken.
      params: nested dict of float32 arrays.
      optimizer: state of the optax transformation.
      ema: averaged parameters, or None.
    """

    step: jax.Array
    params: Params
    optimizer: Any
    ema: Params | None


@dataclasses.dataclass(frozen=True)
class StateSpec:
    """Static description of a run's state: the module's structure, shapes and shardings.

    Attributes:
      graphdef, abstract: of the model, for `bind`.
      shapes: `TrainState` of ShapeDtypeStructs.
      shardings: `TrainState` whose leaves are NamedShardings.
      pad_id: padding token of captions and phrases.
    """

    graphdef: nnx.GraphDef
    abstract: nnx.State
    shapes: TrainState
    shardings: Any
    pad_id: int


def make_state_spec(
    config: Config, vocab_size: int, pad_id: int, optimizer: optax.GradientTransformation, mesh: Mesh
) -> StateSpec:
    """Computes shapes and shardings of the state, without allocating anything.

    Optimizer state is sharded like its parameters; counters are replicated.
    """
    graphdef, abstract = abstract_model(config, vocab_size)
    shapes = jax.eval_shape(lambda: _fresh(config, vocab_size, optimizer))
    whole = NamedSharding(mesh, PartitionSpec())
    of_params = parameter_shardings(abstract, mesh)
    of_optimizer = _optimizer_shardings(optimizer, shapes.optimizer, of_params, whole)
    averaged = None if shapes.ema is None else of_params
    shardings: Any = TrainState(whole, of_params, of_optimizer, averaged)  # type: ignore[arg-type]
    return StateSpec(graphdef, abstract, shapes, shardings, pad_id)


def _optimizer_shardings(
    optimizer: optax.GradientTransformation, state: Any, of_params: Any, replicated: NamedSharding
) -> Any:
    """Returns a sharding for every array of an optimizer's state: that of its parameter, or replicated."""
    masked = lambda node: isinstance(node, optax.MaskedNode)  # noqa: E731 - a hole: the parameter of another group
    # Abstractly: `init` creates its counters on the devices of the mesh, which need not be attached (`svilm compile`).
    return optax.tree.map_params(
        lambda params: jax.eval_shape(optimizer.init, params),
        lambda leaf, sharding: leaf if masked(leaf) else sharding,
        state,
        of_params,
        transform_non_params=lambda _: replicated,
        is_leaf=masked,
    )


def init_state(
    config: Config, vocab_size: int, optimizer: optax.GradientTransformation, structure: StateSpec
) -> TrainState:
    """Creates an initial state directly on the mesh: no device ever holds more than its own shards."""
    return jax.jit(lambda: _fresh(config, vocab_size, optimizer), out_shardings=structure.shardings)()


def with_params(state: TrainState, params: Params) -> TrainState:
    """Returns an initial state with other parameters, including its averages."""
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)  # the step donates both
    return dataclasses.replace(state, params=params, ema=ema)


def _fresh(config: Config, vocab_size: int, optimizer: optax.GradientTransformation) -> TrainState:
    params = parameters(build_model(config, vocab_size, config.train.seed))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        optimizer=optimizer.init(params),
        ema=params if config.optimizer.ema_decay else None,
    )
