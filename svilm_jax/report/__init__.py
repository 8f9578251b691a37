"""Figures and HTML report of a run."""

from svilm_jax.report.examples import Examples, collect
from svilm_jax.report.page import ReportError, write_report

__all__ = ["Examples", "ReportError", "collect", "write_report"]
