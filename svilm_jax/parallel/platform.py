"""Target platform of generated code: the present backend, or another one that code is compiled for ahead of time."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_target: contextvars.ContextVar[str] = contextvars.ContextVar("target", default="")


def platform() -> str:
    """Returns `cpu`, `gpu` or `tpu`: the target that `auto` options in a config depend on."""
    return _target.get() or jax.default_backend()


@contextlib.contextmanager
def targeting(name: str) -> Iterator[None]:
    """Context in which traced code is compiled for the named platform."""
    token = _target.set(name)
    try:
        yield
    finally:
        _target.reset(token)
