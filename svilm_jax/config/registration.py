"""Rule of the registries of objectives and evaluators: a name belongs to one class."""

from typing import Any


def check_free(label: str, name: str, known: Any, new: Any) -> None:
    """Rejects the registration of a second class or function under a name.

    Args:
      label: what is registered, for the message.
      name: its name.
      known: the class or function of that name; None if there is none.
      new: the one to register. It may be `known` defined again: a config file that runs twice does that.

    Raises:
      ValueError: the name is taken by another one.
    """
    if known is not None and _qualified_name(known) != _qualified_name(new):
        raise ValueError(f"{label} {name!r} is registered already, by {_qualified_name(known)}")


def _qualified_name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
