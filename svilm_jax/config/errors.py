"""Config errors, and suggestions for misspelled names."""

import difflib
import typing

from svilm_jax.errors import UserError


class ConfigError(UserError, ValueError):
    """An invalid config; the message is one line that names the key, the expected value and the remedy."""

    def __init__(self, message: str):
        """Escapes characters that would break the line or the terminal, which a mistyped key can contain."""
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def nearest(key: str, known: typing.Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` with the known name closest to a misspelled one, or ""."""
    match = difflib.get_close_matches(str(key), list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


def quoted(value: object) -> str:
    """Returns the `repr` of a value for a message, shortened to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
