"""Captioned videos: a user's folder of videos in any codec that FFmpeg reads, with any common annotation format."""

from svilm_data.datasets.captioned_videos.dataset import NAME, prepare

__all__ = ["NAME", "prepare"]
