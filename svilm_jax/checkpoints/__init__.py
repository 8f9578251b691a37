"""Models on disk: training checkpoints (`manager`) and exported model directories (`model_directory`)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svilm_jax.checkpoints.loading import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports `load` on first use: it decodes videos, which the train state does not need."""
    if name == "load":
        from svilm_jax.checkpoints.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
