"""What is one training step? Cut and paste, towers, objectives, gradients, update: one jitted function of arrays."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from svilm_jax.config import Config
from svilm_jax.models.outputs import Outputs
from svilm_jax.models.parameters import Params, bind
from svilm_jax.objectives import Objective, total_loss
from svilm_jax.training.splicing import splice
from svilm_jax.training.state import Structure, TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def step_key(seed: int, step: jax.Array) -> jax.Array:
    """Randomness of a step: a function of the seed and the step's number, so that a resumed run draws the same."""
    return jax.random.fold_in(jax.random.key(seed), step)


def forward(
    config: Config, structure: Structure, params: Params, batch: Batch, key: jax.Array
) -> tuple[Outputs, Batch]:
    """Training forward pass: the outputs, and the batch with `splice_mask` bool [B, Nt] and `spliced` bool [B]."""
    model = bind(structure.graphdef, structure.abstract, params)
    splice_key, model_key = jax.random.split(key)
    video = batch["video"]
    tubelet_frames = config.model.video.tubelet[0]
    if config.splice.enabled:
        video, mask, spliced = splice(splice_key, video, batch["valid"], config.splice, tubelet_frames)
        batch = {**batch, "splice_mask": mask, "spliced": spliced}
    outputs = model(
        video,
        batch["text"],
        batch["text_mask"],
        batch["nouns"],
        batch["nouns"] != structure.pad_id,
        train=True,
        rng=model_key,
    )
    return outputs, batch


def make_loss(
    config: Config, structure: Structure, objectives: Mapping[str, Objective]
) -> Callable[[Params, Batch, jax.Array], tuple[jax.Array, Metrics]]:
    """(params, batch, key) -> total loss over the global batch, and its parts."""

    def loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        forward_key, objective_key = jax.random.split(key)
        outputs, spliced_batch = forward(config, structure, params, batch, forward_key)
        total, metrics = total_loss(objectives, outputs, spliced_batch, objective_key)
        return total, {
            **metrics,
            "logit_scale": outputs.logit_scale,
            "invalid_clips": (~batch["valid"]).sum(),
        }

    return loss


def make_step(
    config: Config,
    structure: Structure,
    objectives: Mapping[str, Objective],
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """(state, batch) -> (state, metrics), jitted; the old state's memory is given to the new one.

    Metrics hold the losses, `norm/gradient`, `norm/parameters`, `norm/update`, `learning_rate`, and
    `gradient_squares`, one number a parameter in the order of `jax.tree.leaves`, which names the culprit when
    something is not finite.
    """
    loss = make_loss(config, structure, objectives)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = step_key(config.train.seed, state.step)
        (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, batch, key)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        squares = jnp.stack([jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradients)])
        ema = state.ema
        if ema is not None:
            decay = config.optimizer.ema
            ema = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, ema, params)
        metrics |= {
            "norm/gradient": jnp.sqrt(squares.sum()),
            "norm/parameters": optax.tree.norm(params),
            "norm/update": optax.tree.norm(updates),
            "learning_rate": schedule(state.step),
            "gradient_squares": squares,
        }
        return TrainState(state.step + 1, params, optimizer_state, ema), metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(structure.shardings, None))
