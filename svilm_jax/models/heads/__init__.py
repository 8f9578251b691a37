"""Task heads on top of the towers, one file each."""

from svilm_jax.models.heads.gtad import GTAD

__all__ = ["GTAD"]
