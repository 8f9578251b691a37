"""Training loss of a batch: splicing, towers and objectives, as a function of the parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from svilm_jax.checkpoints.train_state import StateSpec
from svilm_jax.config import Config
from svilm_jax.input.splicing import splice_batch
from svilm_jax.models.parameters import Params, bind
from svilm_jax.objectives import Objective, total_loss
from svilm_jax.training.freezing import frozen

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
# (params, batch, key) -> (total loss, metrics)
Loss = Callable[[Params, Batch, jax.Array], tuple[jax.Array, Metrics]]


def make_loss(config: Config, structure: StateSpec, objectives: Mapping[str, Objective]) -> Loss:
    """Returns (params, batch, key) -> total loss over the global batch, and its parts."""

    def loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        params = without_frozen(config, params)
        splice_key, model_key, objective_key = keys(key)
        batch = cut_and_paste(config, batch, splice_key)
        outputs = encode(config, structure, params, batch, model_key)
        return loss_of(config, objectives, outputs, batch, objective_key)

    return loss


def keys(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Splits a key into those of splicing, of the model and of the objectives."""
    forward_key, objective_key = jax.random.split(key)
    splice_key, model_key = jax.random.split(forward_key)
    return splice_key, model_key, objective_key


def without_frozen(config: Config, params: Params) -> Params:
    """Returns the same parameters; no gradients are computed for frozen ones."""
    if not config.init.freeze:
        return params
    fixed = frozen(params, config.init.freeze)
    return jax.tree.map(lambda p, f: jax.lax.stop_gradient(p) if f else p, params, fixed)


def cut_and_paste(config: Config, batch: Batch, key: jax.Array) -> Batch:
    """Returns the batch with spliced clips, if the config enables splicing.

    It then also has `splice_mask` bool [B, Nt], `spliced` bool [B] and `splice_span` bool [B, Nt]; see `SplicedBatch`.
    """
    if config.task == "localization" or not config.splice.enabled:
        return batch
    with jax.named_scope("splice"):
        video, mask, rows, span = splice_batch(
            key, batch["video"], batch["valid"], config.splice, config.model.video.tubelet_size[0]
        )
    return {**batch, "video": video, "splice_mask": mask, "spliced": rows, "splice_span": span}


def encode(config: Config, structure: StateSpec, params: Params, batch: Batch, key: jax.Array) -> Any:
    """Returns the outputs of the task's model for a training batch: `Outputs`, or those of the localizer."""
    model = bind(structure.graphdef, structure.abstract, params)
    if config.task == "localization":
        return model(batch["features"])
    return model(
        batch["video"],
        batch.get("text"),
        batch.get("text_mask"),
        *_real("nouns", batch, structure.pad_id),
        *_real("sentences", batch, structure.pad_id),
        train=True,
        rng=key,
    )


def loss_of(
    config: Config, objectives: Mapping[str, Objective], outputs: Any, batch: Batch, key: jax.Array
) -> tuple[jax.Array, Metrics]:
    """Returns the total loss over the global batch, and its parts."""
    total, metrics = total_loss(objectives, outputs, batch, key)
    if config.task != "localization":
        metrics["logit_scale"] = outputs.logit_scale
    return total, {**metrics, "invalid_clips": (~batch["valid"]).sum()}


def _real(name: str, batch: Batch, pad_id: int) -> tuple[jax.Array | None, jax.Array | None]:
    """Returns tokens int32 [B, K, L] of the texts `name` and their mask bool [B, K, L]; None without them."""
    tokens = batch.get(name)
    return (None, None) if tokens is None else (tokens, tokens != pad_id)
