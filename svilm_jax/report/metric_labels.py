"""Display names of metrics, and the sections of the report that they belong to."""

from collections.abc import Mapping

# prefix of the name -> title of the section and its explanation.
SECTIONS: Mapping[str, tuple[str, str]] = {
    "retrieval": (
        "Text-video retrieval, full gallery",
        "Zero-shot, by cosine similarity; ties count against the model. The oracles are shortcut baselines that see "
        "only the colors, or the colors and the background, of clips and captions, without error.",
    ),
    "retrieval_hard": (
        "Text-video retrieval within look-alike sets",
        "Within sets of clips that share colors and background and differ in shape, size or motion.",
    ),
    "grounding": (
        "Spatial grounding",
        "Localization of noun phrases, on clips with at least two objects. The phrase-blind baseline always "
        "points at an object but ignores the phrase.",
    ),
    "grouping": (
        "Temporal grouping",
        "Foreground tubelets of spliced clips, and scene cuts of long videos, with the mask hidden. Raw pixels go "
        "through the same readout as the model's tokens; the better of two features counts.",
    ),
    "train": ("Training", ""),
}

LABELS: Mapping[str, str] = {
    "grounding/pointing_game": "pointing game accuracy",
    "grounding/pointing_game_other_phrase": "points on another object",
    "grounding/pointing_any_object": "points on any object",
    "grounding/mean_iou": "mean IoU of the matched group with the object",
    "grounding/block": "grouping block used, selected on another split",
    "grounding/groups_used": "groups in use",
    "grouping/tubelet_accuracy": "splice accuracy per temporal index, look-alike pairs",
    "grouping/tubelet_accuracy_ordinary": "splice accuracy per temporal index, ordinary pairs",
    "grouping/cut_exact": "exact span accuracy, look-alike pairs",
    "grouping/cut_exact_ordinary": "exact span accuracy, ordinary pairs",
    "grouping/scene_cut_f1": "scene-cut F1, long videos",
    "train/steps": "steps",
    "train/seconds": "total seconds, including evaluation",
}
_DIRECTIONS = {"t2v": "text to video", "v2t": "video to text"}
_MEASURES = {
    "R1": "recall at 1",
    "R5": "recall at 5",
    "R10": "recall at 10",
    "MedR": "median rank",
    "MeanR": "mean rank",
}


def section(name: str) -> str:
    """Returns the section of a metric; names without a known prefix have a section of their own."""
    return name.partition("/")[0]


def label(name: str) -> str:
    """Returns the display name of a metric; its own name if there is none."""
    if name in LABELS:
        return LABELS[name]
    direction, _, measure = name.rpartition("/")[2].partition("_")
    if direction in _DIRECTIONS and measure in _MEASURES:
        where = ", look-alike sets" if section(name) == "retrieval_hard" else ""
        return f"{_DIRECTIONS[direction]}, {_MEASURES[measure]}{where}"
    if "failed_fraction" in name:
        return "clips that cannot be decoded"
    return name.rpartition("/")[2].replace("_", " ")
