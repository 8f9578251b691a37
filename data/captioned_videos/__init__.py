"""Captioned videos: a user's folder of videos in any codec that FFmpeg reads, with any common annotation format."""

from .dataset import NAME, prepare

__all__ = ["NAME", "prepare"]
