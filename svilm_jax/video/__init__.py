"""Video files: demuxing, decoding and encoding through PyAV."""

from svilm_jax.video.decoding import Frames, VideoError, VideoInfo, decode, probe

__all__ = ["Frames", "VideoError", "VideoInfo", "decode", "probe"]
