"""For which kind of device is code made? The one at hand, unless it is compiled for another that is not there."""

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
