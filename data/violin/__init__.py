"""VIOLIN: true and false statements about clips of films and series."""

from .statements import DATASET

__all__ = ["DATASET"]
