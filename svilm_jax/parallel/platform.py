"""Target platform of generated code: the present backend, or another one that code is compiled for ahead of time."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_target: contextvars.ContextVar[str] = contextvars.ContextVar("target", default="")


def platform() -> str:
    """`cpu`, `gpu` or `tpu`: what `auto` in a config chooses by."""
    return _target.get() or jax.default_backend()


@contextlib.contextmanager
def targeting(name: str) -> Iterator[None]:
    """What is traced inside is meant for devices of this kind."""
    token = _target.set(name)
    try:
        yield
    finally:
        _target.reset(token)
