"""FLOP count of a traced function: matrix products in its jaxpr, with loop bodies counted once per iteration.

XLA's own count (`cost_analysis`) counts the body of a loop once and does not cover custom kernels.
"""

import math
from typing import Any

import jax
from jax.extend import core


def product_flops(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> float:
    """Counts the FLOPs of all matrix products and convolutions, two per multiply-add, on all devices together.

    Rematerialized products count as often as they are computed. A part that every device runs by itself (`shard_map`)
    counts for all of them.
    """
    inner = jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr
    return sum(_equation(equation) for equation in inner.eqns)


def _equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) / outputs
    if name == "cond":
        return max(product_flops(branch) for branch in params["branches"])
    return _times(name, params) * sum(product_flops(inner) for inner in _inner(params))


def _times(name: str, params: Any) -> int:
    """Returns how often the inner jaxprs of an equation run."""
    if name == "scan":
        return params["length"]
    if name == "shard_map":
        return params["mesh"].size
    if name == "pallas_call":
        return math.prod(params["grid_mapping"].grid)
    return 1


def _inner(params: Any) -> list[Any]:
    leaves = jax.tree.leaves(list(params.values()), is_leaf=lambda x: isinstance(x, (core.Jaxpr, core.ClosedJaxpr)))
    return [leaf for leaf in leaves if isinstance(leaf, (core.Jaxpr, core.ClosedJaxpr))]
