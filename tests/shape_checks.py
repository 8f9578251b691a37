"""Type checker for the import hook of jaxtyping: beartype on the annotated shapes, and on nothing else."""

import types
import typing
from collections.abc import Callable
from typing import Any

import numpy as np
from beartype import beartype
from jaxtyping import AbstractArray, Shaped


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Checks the arguments and the result of a function whose annotations hold shapes; returns others unchanged.

    NumPy arrays are accepted too, as `jax.numpy` does, whatever their dtype: JAX converts it.
    """
    shapes = {name: _widened(hint) for name, hint in function.__annotations__.items() if _has_shape(hint)}
    if not shapes:
        return function
    function.__annotations__ = shapes
    return beartype(function)


def _has_shape(hint: Any) -> bool:
    return _is_array(hint) or any(map(_has_shape, typing.get_args(hint)))


def _is_array(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def _widened(hint: Any) -> Any:
    if _is_array(hint):
        return hint | Shaped[np.ndarray, hint.dim_str]
    parts = tuple(map(_widened, typing.get_args(hint)))
    if not parts:
        return hint
    if isinstance(hint, types.UnionType):
        return typing.Union[parts]  # noqa: UP007 - of a number of types known at run time only
    return typing.get_origin(hint)[parts]
