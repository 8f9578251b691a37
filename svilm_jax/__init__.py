"""S-ViLM: structured video-language pre-training with spatial grounding and temporal grouping.

model = svilm_jax.load("runs/demo")
model.embed_video(["a.mp4", "b.mp4"]) @ model.embed_text("a red square").T
model.ground("a.mp4", "a red square").heat
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svilm_jax.checkpoints import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports `load` on first use: `import svilm_jax` alone does not import JAX."""
    if name == "load":
        from svilm_jax.checkpoints import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
