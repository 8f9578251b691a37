"""Optimizer, learning-rate schedule and weight-decay mask of a config (docs/method.md, 1.6)."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from svilm_jax.config import InitConfig, OptimizerConfig
from svilm_jax.training.freezing import scale_by_group
from svilm_jax.training.muon import scale_by_muon

# Not matrices that multiply activations: norms, biases, positions, embeddings, group tokens and the logit scale each
# have their own scale already.
NO_MATRIX = re.compile(r"(^|\.)(bias|scale|log_scale|group_tokens|\w*_position|\w*_embedding)$")


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Returns linear warm-up from 0 over `warmup_fraction`, then one of two ways down.

    `cosine` decays to `final_lr_fraction` of the peak; `steps` multiplies by `drop_factor` after each of `drops`.
    """
    warmup = round(config.warmup_fraction * steps)
    if config.schedule == "steps":
        drops = [round(fraction * steps) for fraction in config.drops]

        def rate(count: jax.typing.ArrayLike) -> jax.Array:
            step = jnp.asarray(count)
            passed = (step >= jnp.array(drops, jnp.int32)).sum()
            ramp = jnp.minimum(step / warmup, 1.0) if warmup else 1.0
            return config.learning_rate * ramp * config.drop_factor**passed

        return rate
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else config.learning_rate,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=config.final_lr_fraction * config.learning_rate,
    )


def matrices(params: Any) -> Any:
    """Returns True for every parameter that weight decay applies to, and that Muon may update."""

    def is_matrix(path: tuple[Any, ...], _: Any) -> bool:
        return not NO_MATRIX.search(jax.tree_util.keystr(path, simple=True, separator="."))

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def _all(params: Any) -> Any:
    return jax.tree.map(lambda _: True, params)


def make_optimizer(
    config: OptimizerConfig, steps: int, group_scales: optax.GradientTransformation | None = None
) -> optax.GradientTransformation:
    """Chains clipping by global norm, optimizer, weight decay, schedule and `group_scales`, in this order.

    Weight decay is decoupled: it acts on the weights, and not through the moments of the optimizer. That of `adam` is
    the L2 penalty of PyTorch's Adam: it comes before the optimizer, as a part of the gradients.

    Args:
      config: optimizer options.
      steps: of the whole training.
      group_scales: scales the updates of groups of parameters, see `scale_by_group`; None: every factor is 1.

    `muon` is for matrices (`svilm_jax/training/muon.py`); all other parameters are always updated by Adam.
    """
    # A place of its own even where it is off: a run is resumed with clipping after a gradient that was not finite.
    parts = [optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()]
    decay = optax.add_decayed_weights(config.weight_decay, mask=matrices if config.decayed == "matrices" else _all)
    if config.name == "adam":
        parts.append(decay)
    if config.name == "sgd":
        parts.append(optax.trace(decay=config.momentum))
    else:
        adam = optax.scale_by_adam(config.beta1, config.beta2, config.eps)
        if config.name == "muon":
            # Depends on `muon_from` alone, whatever it rounds to: what a checkpoint holds must not depend on `steps`.
            start = round(config.muon_start_fraction * steps) if config.muon_start_fraction else None
            adam = scale_by_muon(adam, matrices, config.momentum, config.muon_rms, start)
        parts.append(adam)
    if config.name != "adam":
        parts.append(decay)
    parts.append(optax.scale_by_learning_rate(make_schedule(config, steps)))
    # Part of every optimizer, even where every factor is 1: a run is resumed with other factors.
    parts.append(scale_by_group(InitConfig(), None) if group_scales is None else group_scales)
    return optax.chain(*parts)
