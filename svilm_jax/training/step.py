"""What is one training step? Cut and paste, towers, objectives, gradients, update: one jitted function of arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from svilm_jax.config import Config
from svilm_jax.models.parameters import Params, bind
from svilm_jax.objectives import Objective, total_loss
from svilm_jax.training.initialization import frozen
from svilm_jax.training.splicing import splice
from svilm_jax.training.state import Structure, TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def step_key(seed: int, step: jax.Array) -> jax.Array:
    """Randomness of a step: a function of the seed and the step's number, so that a resumed run draws the same."""
    return jax.random.fold_in(jax.random.key(seed), step)


def forward(config: Config, structure: Structure, params: Params, batch: Batch, key: jax.Array) -> tuple[Any, Batch]:
    """Training forward pass of the config's task: the outputs, and the batch that objectives read.

    A batch that is spliced gets `splice_mask` bool [B, Nt] and `spliced` bool [B].
    """
    model = bind(structure.graphdef, structure.abstract, params)
    if config.task == "localization":
        return model(batch["features"]), batch
    splice_key, model_key = jax.random.split(key)
    video = batch["video"]
    tubelet_frames = config.model.video.tubelet[0]
    if config.splice.enabled:
        video, mask, spliced = splice(splice_key, video, batch["valid"], config.splice, tubelet_frames)
        batch = {**batch, "splice_mask": mask, "spliced": spliced}
    outputs = model(
        video,
        batch.get("text"),
        batch.get("text_mask"),
        *_real("nouns", batch, structure.pad_id),
        *_real("sentences", batch, structure.pad_id),
        train=True,
        rng=model_key,
    )
    return outputs, batch


def _real(name: str, batch: Batch, pad_id: int) -> tuple[jax.Array | None, jax.Array | None]:
    """Tokens int32 [B, K, L] of the texts `name`, and bool [B, K, L] where they are no padding; None without them."""
    tokens = batch.get(name)
    return (None, None) if tokens is None else (tokens, tokens != pad_id)


def make_loss(
    config: Config, structure: Structure, objectives: Mapping[str, Objective]
) -> Callable[[Params, Batch, jax.Array], tuple[jax.Array, Metrics]]:
    """(params, batch, key) -> total loss over the global batch, and its parts."""

    still = config.init.freeze

    def loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        if still:  # no gradient is computed for what does not move
            fixed = frozen(params, still)
            params = jax.tree.map(lambda p, f: jax.lax.stop_gradient(p) if f else p, params, fixed)
        forward_key, objective_key = jax.random.split(key)
        outputs, spliced_batch = forward(config, structure, params, batch, forward_key)
        total, metrics = total_loss(objectives, outputs, spliced_batch, objective_key)
        if config.task == "video_text":
            metrics["logit_scale"] = outputs.logit_scale
        return total, {
            **metrics,
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
