"""How is VIOLIN prepared? Statements about clips of films and series that are true or false."""

from .statements import DATASET

__all__ = ["DATASET"]
