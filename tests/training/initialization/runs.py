"""Tiny runs from a checkpoint, and parameters that are random in every entry."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from svilm_jax.models.parameters import abstract_model
from svilm_jax.parallel import make_mesh
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training import loop

VOCABULARY = load_tokenizer("builtin:moving_shapes")


def with_objectives(config, **objectives):
    return dataclasses.replace(config, objectives=objectives)


def named(params):
    """name -> NumPy array."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def drawn(config, seed=7):
    """Fresh parameters of a config's model, random in every entry."""
    return random_like(abstract_model(config, VOCABULARY.vocab_size)[1], seed)


def random_like(abstract, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), nnx.to_pure_dict(abstract))


def run(start, workdir):
    return loop.train(start.config, workdir, start.tokenizer, make_mesh(start.config.mesh), loaded=start.loaded)
