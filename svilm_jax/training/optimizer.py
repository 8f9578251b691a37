"""How are parameters moved? Optimiser, schedule and weight-decay mask of a config (METHOD 1.6)."""

import re
from typing import Any

import jax
import optax
import optax.contrib

from svilm_jax.config import ConfigError, OptimizerConfig, nearest

OPTIMIZERS = ("sgd", "adamw", "muon")

MUON_RMS = 0.2  # of an update's entries at learning rate 1, as AdamW's are (arXiv 2502.16982, section 2.2)

# Decay is for matrices that multiply activations. Norms, biases, positions, embeddings, group tokens and the logit
# scale are each already on their own scale.
NO_DECAY = re.compile(r"(^|\.)(bias|scale|log_scale|group_tokens|\w*_position|\w*_embedding)$")


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Linear warm-up from 0 over `warmup_share` of the steps, then a cosine to `end_share` of the peak."""
    warmup = round(config.warmup_share * steps)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else config.learning_rate,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=config.end_share * config.learning_rate,
    )


def decay_mask(params: Any) -> Any:
    """True for every parameter that weight decay applies to."""

    def decays(path: tuple[Any, ...], _: Any) -> bool:
        return not NO_DECAY.search(jax.tree_util.keystr(path, simple=True, separator="."))

    return jax.tree_util.tree_map_with_path(decays, params)


def matrix_axes(params: Any) -> Any:
    """What Muon treats as matrices: the last two axes of every kernel (a stack has layers before them); None: not."""

    def axes(path: tuple[Any, ...], leaf: Any) -> optax.contrib.MuonDimensionNumbers | None:
        if jax.tree_util.keystr(path, simple=True, separator=".").endswith("kernel"):
            return optax.contrib.MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1)
        return None

    return jax.tree_util.tree_map_with_path(axes, params)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clipping by global norm, the optimiser, decoupled weight decay, the schedule; in this order.

    Muon (arXiv 2502.16982) makes the momentum of every matrix orthogonal and scales it to the size of an AdamW update,
    so that one learning rate serves both: what is no matrix is moved by Adam with
    Nesterov's momentum.

    Raises:
      ConfigError: an unknown optimiser.
    """
    if config.name not in OPTIMIZERS:
        raise ConfigError(
            f"config.optimizer.name={config.name!r}: expected one of {OPTIMIZERS}{nearest(config.name, OPTIMIZERS)}"
        )
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    schedule = make_schedule(config, steps)
    if config.name == "muon":
        muon = optax.contrib.muon(
            schedule,
            beta=config.momentum,
            adam_b1=config.beta1,
            adam_b2=config.beta2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            weight_decay_mask=decay_mask,
            consistent_rms=MUON_RMS,
            muon_weight_dimension_numbers=matrix_axes,
        )
        return optax.chain(*parts, muon)
    if config.name == "sgd":
        # Decay is decoupled here too: it acts on the weights and not through the momentum.
        parts.append(optax.trace(decay=config.momentum))
    else:
        parts.append(optax.scale_by_adam(config.beta1, config.beta2, config.eps))
    parts.append(optax.add_decayed_weights(config.weight_decay, mask=decay_mask))
    parts.append(optax.scale_by_learning_rate(schedule))
    return optax.chain(*parts)
