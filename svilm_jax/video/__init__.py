"""Video files: demuxing, decoding and encoding through PyAV."""

from svilm_jax.video.decoding import decode, probe
from svilm_jax.video.info import VideoError, VideoInfo

__all__ = ["VideoError", "VideoInfo", "decode", "probe"]
