"""Report section that both evaluators of temporal grouping share."""

from svilm_jax.evaluation.section import Section

SECTION = Section(
    "Temporal grouping",
    "Foreground tubelets of spliced clips, and scene cuts of long videos, with the mask hidden. Raw pixels go through "
    "the same readout as the model's tokens; the better of two features counts, mean color and small pictures.",
    headline="tubelet_accuracy",
    minor_baselines=("raw_mean_color", "raw_small_pictures"),
)
