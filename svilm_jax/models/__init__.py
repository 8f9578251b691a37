"""The model, arrays to arrays: start with `svilm.py`; sizes stand in `variants.py`, results in `outputs.py`."""

from svilm_jax.models.outputs import Outputs, VideoOutputs
from svilm_jax.models.svilm import SVILM, build_model

__all__ = ["SVILM", "Outputs", "VideoOutputs", "build_model"]
