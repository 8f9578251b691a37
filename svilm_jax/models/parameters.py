"""Separation of modules and parameters: outside the models, parameters are a nested dict of arrays."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from svilm_jax.config import Config
from svilm_jax.models.svilm import SVILM, Model, build_model

Params = dict[str, Any]

HEAD = "head."  # name prefix of the parameters of a task head


def abstract_model(config: Config, vocab_size: int) -> tuple[nnx.GraphDef, nnx.State]:
    """Returns the structure and shapes of a model without allocating memory."""
    return nnx.split(nnx.eval_shape(lambda: build_model(config, vocab_size)), nnx.Param)


def parameters(model: Model) -> Params:
    """Returns the arrays of a model."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def bind(graphdef: nnx.GraphDef, abstract: nnx.State, params: Params) -> SVILM:
    """Returns a model that computes with `params`; cheap, called inside each traced function."""
    state = jax.tree.map(
        lambda variable, value: variable.replace(value),
        abstract,
        nnx.State(params),  # the container of `abstract`, so that both can be walked together
        is_leaf=lambda node: isinstance(node, nnx.Variable),
    )
    return nnx.merge(graphdef, state)


def within_bounds(params: Params, abstract: nnx.State) -> Params:
    """Returns `params`, clipped to the `bounds` (low, high) that a module declares with its `nnx.Param`, if it does."""

    def clipped(variable: nnx.Variable, value: Any) -> Any:
        bounds = variable.get_metadata().get("bounds")
        return variable.replace(value if bounds is None else jnp.clip(value, *bounds))

    state = jax.tree.map(clipped, abstract, nnx.State(params), is_leaf=lambda node: isinstance(node, nnx.Variable))
    return nnx.to_pure_dict(state)


def fingerprint(params: Params) -> str:
    """Returns 12 hex digits that change with any value of any array."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:12]


def named(params: Params) -> dict[str, Any]:
    """Returns name -> array, in the order of `jax.tree.leaves`; a name is the path to its array, joined by dots."""
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def path_name(path: tuple[Any, ...]) -> str:
    """Returns the name of the array at a path of `jax.tree_util`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def unnamed(arrays: Mapping[str, Any]) -> Params:
    """Returns the nested dict that `named` flattens; numeric path components are positions in a list of modules."""
    params: dict[Any, Any] = {}
    for name, array in arrays.items():
        *way, last = (int(part) if part.isdigit() else part for part in name.split("."))
        place = params
        for part in way:
            place = place.setdefault(part, {})
        place[last] = array
    return params


def count(params: Params) -> int:
    """Returns the total number of elements of all arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
