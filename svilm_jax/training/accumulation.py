"""Gradient accumulation over microbatches: GradCache where a contrast spans the batch, otherwise a plain mean.

A contrastive loss over the parts of a batch is not that over the whole batch: each clip would be compared only with the
captions of its own part, and the number of negatives, the reason for large batches, would not grow. GradCache (arXiv
2101.06983) computes the exact gradient: (1) all parts are encoded, keeping only the outputs that objectives read;
(2) the loss of the whole batch and its gradient with respect to those outputs are computed; (3) each part is encoded
again and the gradient is propagated to the parameters. It costs one more forward pass; activations for the backward
pass are held for one part at a time.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from svilm_jax.checkpoints.train_state import StateSpec
from svilm_jax.config import Config, ConfigError
from svilm_jax.models.outputs import keep_only
from svilm_jax.models.parameters import Params
from svilm_jax.objectives import Objective
from svilm_jax.parallel import batch_parts, whole_batch
from svilm_jax.training.loss import Batch, Metrics, cut_and_paste, encode, keys, loss_of, make_loss, without_frozen

# (params, batch, key) -> (metrics, gradients)
Gradient = Callable[[Params, Batch, jax.Array], tuple[Metrics, Params]]


def make_gradient(config: Config, structure: StateSpec, objectives: Mapping[str, Objective]) -> Gradient:
    """Returns a function for metrics and gradients of the global batch's loss, in `config.train.microbatches` parts."""
    if config.train.microbatches > 1:
        return (_cached if config.train.accumulation == "gradcache" else _mean)(config, structure, objectives)
    loss = make_loss(config, structure, objectives)

    def whole(params: Params, batch: Batch, key: jax.Array) -> tuple[Metrics, Params]:
        (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
        return metrics, gradients

    return whole


def check_accumulation(config: Config, objectives: Mapping[str, Objective], pieces: int) -> None:
    """Rejects microbatches that do not fit the batch, or that would change the objective.

    Args:
      config: the resolved config.
      objectives: objectives of the run.
      pieces: number of devices that shard the batch.

    Raises:
      ConfigError: naming the key.
    """
    settings = config.train
    parts, kind = settings.microbatches, settings.accumulation
    if parts < 1 or settings.batch_size % (parts * pieces):
        raise ConfigError(
            f"config.train.microbatches={parts}: expected a divisor of the number of rows of each device, "
            f"{settings.batch_size} / {pieces} = {settings.batch_size / pieces:g}"
        )
    contrasts = sorted(name for name, objective in objectives.items() if objective.SPANS_BATCH)
    if parts > 1 and kind == "mean" and contrasts:
        raise ConfigError(
            f"config.train.accumulation='mean' with {', '.join(contrasts)}: they compare every clip with the others of "
            f"its batch, and a mean over parts would leave only the {settings.batch_size // parts} of its own part "
            "as negatives; config.train.accumulation='gradcache' computes the loss of the whole batch"
        )
    if parts > 1 and kind == "mean" and config.splice.enabled and config.task != "localization":
        raise ConfigError(
            f"config.train.accumulation='mean' with config.splice.enabled=True: each part of "
            f"{settings.batch_size // parts} clips would be spliced on its own, from other partners than in one batch "
            f"of {settings.batch_size}; set config.train.accumulation='gradcache', which splices the whole batch first"
        )


def _cached(config: Config, structure: StateSpec, objectives: Mapping[str, Objective]) -> Gradient:
    """Returns the gradient function of GradCache."""
    reads = sorted({name for objective in objectives.values() for name in objective.READS})

    def gradient(params: Params, batch: Batch, key: jax.Array) -> tuple[Metrics, Params]:
        splice_key, model_key, objective_key = keys(key)
        batch = cut_and_paste(config, batch, splice_key)
        parts = batch_parts(batch, config.train.microbatches)
        part_keys = jax.random.split(model_key, config.train.microbatches)

        def outputs_of(params: Params, part: Batch, key: jax.Array) -> Any:
            return keep_only(encode(config, structure, without_frozen(config, params), part, key), reads)

        stacked = jax.lax.map(lambda part: outputs_of(params, *part), (parts, part_keys))
        (_, metrics), slopes = jax.value_and_grad(
            lambda outputs: loss_of(config, objectives, outputs, batch, objective_key), has_aux=True
        )(whole_batch(stacked))
        slopes = batch_parts(slopes, config.train.microbatches)

        def pull(total: Params, part: tuple[Batch, jax.Array, Any]) -> tuple[Params, None]:
            rows, key, slope = part
            _, back = jax.vjp(lambda p: outputs_of(p, rows, key), params)
            return jax.tree.map(jnp.add, total, back(slope)[0]), None

        zero = jax.tree.map(jnp.zeros_like, params)
        return metrics, jax.lax.scan(pull, zero, (parts, part_keys, slopes))[0]

    return gradient


def _mean(config: Config, structure: StateSpec, objectives: Mapping[str, Objective]) -> Gradient:
    """Averages the losses of the parts: rows have equal weight only if all parts have the same number of valid rows."""
    loss = make_loss(config, structure, objectives)

    def gradient(params: Params, batch: Batch, key: jax.Array) -> tuple[Metrics, Params]:
        count = config.train.microbatches

        def add(total: Params, part: tuple[Batch, jax.Array]) -> tuple[Params, Metrics]:
            (_, metrics), slopes = jax.value_and_grad(loss, has_aux=True)(params, *part)
            return jax.tree.map(lambda t, s: t + s / count, total, slopes), metrics

        zero = jax.tree.map(jnp.zeros_like, params)
        parts = (batch_parts(batch, count), jax.random.split(key, count))
        total, metrics = jax.lax.scan(add, zero, parts)
        means = {name: values.mean(axis=0) for name, values in metrics.items()}
        return means | {"invalid_clips": metrics["invalid_clips"].sum()}, total

    return gradient
