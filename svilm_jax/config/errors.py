"""Config errors, and suggestions for misspelled names."""

import difflib
import typing

from svilm_jax.errors import UserError


class ConfigError(UserError, ValueError):
    """A config that cannot be run; the message names the key, what was expected and what to do, on one line."""

    def __init__(self, message: str):
        """Characters that would break the line or the terminal, as a mistyped key may hold them, are escaped."""
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def nearest(key: str, known: typing.Iterable[str]) -> str:
    """`; did you mean 'x'?` for a misspelt key, or nothing."""
    match = difflib.get_close_matches(str(key), list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


def shown(value: object) -> str:
    """A value as a message quotes it: on one line, and of a length that can be read."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
