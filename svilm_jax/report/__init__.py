"""Figures and HTML report of a run.

The page is imported lazily: it draws with Matplotlib, and the entries of a config are also read without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svilm_jax.report.examples import Examples, collect
    from svilm_jax.report.page import ReportError, write_report

__all__ = ["Examples", "ReportError", "collect", "write_report"]

_LATE = {"Examples": "examples", "collect": "examples", "ReportError": "page", "write_report": "page"}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
