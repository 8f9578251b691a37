"""What stands on top of a tower for one task? Heads, one file each."""

from svilm_jax.models.heads.gtad import GTAD, LocalizationOutputs

__all__ = ["GTAD", "LocalizationOutputs"]
