"""Model code, arrays in and arrays out: start with `svilm.py`; sizes are in `variants.py`, outputs in `outputs.py`."""

from svilm_jax.models.outputs import Outputs, VideoOutputs
from svilm_jax.models.svilm import SVILM, build_model

__all__ = ["SVILM", "Outputs", "VideoOutputs", "build_model"]
