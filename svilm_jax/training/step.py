"""Train step: splicing, towers, objectives, gradients and update in one jitted function of arrays."""

import dataclasses
import logging
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from svilm_jax.checkpoints.train_state import StateSpec, TrainState
from svilm_jax.config import Config, ConfigError
from svilm_jax.input.splicing import check_splice, fitted_block
from svilm_jax.models.attention import check_attention
from svilm_jax.models.parameters import within_bounds
from svilm_jax.models.patch_embedding import token_grid
from svilm_jax.objectives import Objective
from svilm_jax.parallel import data_parallelism
from svilm_jax.training.accumulation import check_accumulation, make_gradient
from svilm_jax.training.loss import Batch, Metrics

log = logging.getLogger(__name__)


def step_key(seed: int, step: jax.Array) -> jax.Array:
    """Returns the random key of a step: a function of seed and step number, so that a resumed run draws the same."""
    return jax.random.fold_in(jax.random.key(seed), step)


def fit_to_mesh(config: Config, mesh: Mesh) -> Config:
    """Returns the config with those values that depend on the number of devices: `splice.block`."""
    return fit_to_pieces(config, data_parallelism(mesh))


def fit_to_pieces(config: Config, pieces: int) -> Config:
    """Does the same for devices that need not be attached; `pieces` is the number that shard the batch."""
    return dataclasses.replace(config, splice=fitted_block(config.splice, config.train.batch_size, pieces))


def check_step(config: Config, objectives: Mapping[str, Objective], mesh: Mesh) -> None:
    """Rejects configs, fitted to the mesh, that have no valid train step on it, before anything is loaded.

    Raises:
      ConfigError: naming the key.
    """
    check_step_on(config, objectives, mesh.devices.flat[0].platform, data_parallelism(mesh))


def check_step_on(config: Config, objectives: Mapping[str, Objective], device: str, pieces: int) -> None:
    """Rejects configs that have no valid train step on devices which need not be attached.

    Args:
      config: the resolved config.
      objectives: objectives of the run.
      device: kind of the devices: `cpu`, `gpu` or `tpu`.
      pieces: number of devices that shard the batch.

    Raises:
      ConfigError: naming the key.
    """
    check_attention(config.model.attention, device)
    size = config.train.batch_size
    if size % pieces:
        raise ConfigError(f"config.train.batch_size={size}: expected a multiple of the {pieces} devices that shard it")
    if config.splice.enabled and config.task != "localization":
        check_splice(config.splice, token_grid(config.model.video)[0], size, pieces)
    check_accumulation(config, objectives, pieces)


def check_batch(config: Config, objectives: Mapping[str, Objective], steps_per_epoch: float) -> None:
    """Rejects batches that would contain a clip twice, as its own negative; warns of batches of one.

    Args:
      config: the resolved config.
      objectives: objectives of the run.
      steps_per_epoch: of the training split.

    Raises:
      ConfigError: naming the key.
    """
    size = config.train.batch_size
    contrasts = ", ".join(sorted(name for name, objective in objectives.items() if objective.SPANS_BATCH))
    if contrasts and size == 1:
        log.warning("config.train.batch_size=1: %s has no negatives", contrasts)
    if contrasts and steps_per_epoch < 1:
        clips = round(steps_per_epoch * size)
        raise ConfigError(
            f"config.train.batch_size={size} is larger than the split, {clips} clips: a clip would be in a batch "
            f"twice, and {contrasts} would take it for its own negative; expected at most {clips}"
        )


def make_step(
    config: Config,
    structure: StateSpec,
    objectives: Mapping[str, Objective],
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
) -> jax.stages.Wrapped:
    """Returns (state, batch) -> (state, metrics), jitted; it donates the input state's buffers.

    Metrics hold the losses, `norm/gradient`, `norm/parameters`, `norm/update`, `learning_rate`, and
    `gradient_squares`, one value per parameter in the order of `jax.tree.leaves`, which identifies the cause of
    non-finite values.
    """
    gradient = make_gradient(config, structure, objectives)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = step_key(config.train.seed, state.step)
        metrics, gradients = gradient(state.params, batch, key)
        with jax.named_scope("optimizer"):
            updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
            params = within_bounds(optax.apply_updates(state.params, updates), structure.abstract)
        squares = jnp.stack([jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradients)])
        ema = state.ema
        if ema is not None:
            ema = optax.incremental_update(params, ema, step_size=1 - config.optimizer.ema_decay)
        metrics |= {
            "norm/gradient": jnp.sqrt(squares.sum()),
            "norm/parameters": optax.tree.norm(params),
            "norm/update": optax.tree.norm(updates),
            "learning_rate": schedule(state.step),
            "gradient_squares": squares,
        }
        return TrainState(state.step + 1, params, optimizer_state, ema), metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(structure.shardings, None))
