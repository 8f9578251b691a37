"""How is a folder of captioned videos prepared? Any codec that FFmpeg reads, any usual form of annotation file."""

from .dataset import NAME, prepare

__all__ = ["NAME", "prepare"]
