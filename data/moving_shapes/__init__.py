"""Moving shapes: a small rendered world with captions, masks, cuts, actions and questions."""

from .builder import prepare

__all__ = ["prepare"]
