"""Registration of objectives, evaluators and datasets: plugins of other packages, and the rule of unique names."""

from importlib import metadata
from typing import Any

PLUGINS = "svilm_jax.plugins"  # group of entry points
_plugins_loaded = False


def load_plugins() -> None:
    """Imports the modules that installed packages name as entry points of `PLUGINS`; once per process.

    Such a module calls `register_objective`, `register_evaluator` or `register_dataset`. The registries call this
    before they look up a name: reading the entry points of all installed packages takes longer than the start of a
    command that needs none.
    """
    global _plugins_loaded
    if not _plugins_loaded:
        _plugins_loaded = True  # first: a plugin may look up a name itself
        for entry in metadata.entry_points(group=PLUGINS):
            entry.load()


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
