"""Display names of metrics, and the sections of the report that they belong to."""

from collections.abc import Mapping

# prefix of the name -> title of the section and what a reader has to know about it.
SECTIONS: Mapping[str, tuple[str, str]] = {
    "retrieval": (
        "Retrieval, ordinary gallery",
        "Zero-shot, by the cosine of the two towers; ties count against the model. The oracles read nothing but the "
        "colours, or the colours and the background, of clips and captions, without error.",
    ),
    "retrieval_hard": (
        "Retrieval among look-alikes",
        "Within sets of clips that share colours and background and differ in shape, size or motion.",
    ),
    "grounding": (
        "Spatial grounding",
        "Which part of the picture a noun phrase means, on clips with at least two objects. A pointer that always "
        "lies on an object and cannot read gets the phrase-blind rate.",
    ),
    "grouping": (
        "Temporal grouping",
        "Which tubelets of a clip were pasted in, and where long videos change scene, the mask hidden. Raw pixels go "
        "through the same readout as the model's tokens; the better of two kinds counts.",
    ),
    "train": ("Training", ""),
}

LABELS: Mapping[str, str] = {
    "grounding/pointing_game": "points on the object that the phrase names",
    "grounding/pointing_game_other_phrase": "points on another object",
    "grounding/pointing_any_object": "points on any object",
    "grounding/mean_iou": "overlap of the matched group with the object (IoU)",
    "grounding/block": "grouping block that is read, chosen on another split",
    "grounding/groups_used": "groups in use, of those that the model has",
    "grouping/tubelet_accuracy": "tubelets on the right side, splices of twins",
    "grouping/tubelet_accuracy_ordinary": "tubelets on the right side, ordinary splices",
    "grouping/cut_exact": "span exactly right, splices of twins",
    "grouping/cut_exact_ordinary": "span exactly right, ordinary splices",
    "grouping/scene_cut_f1": "scene cuts of long videos, F1",
    "train/steps": "steps",
    "train/seconds": "seconds from start to end, evaluation included",
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
    """The section that a metric stands in; names without a known prefix have their own."""
    return name.partition("/")[0]


def label(name: str) -> str:
    """Plain words for a metric; its name where there are none."""
    if name in LABELS:
        return LABELS[name]
    direction, _, measure = name.rpartition("/")[2].partition("_")
    if direction in _DIRECTIONS and measure in _MEASURES:
        where = ", among look-alikes" if section(name) == "retrieval_hard" else ""
        return f"{_DIRECTIONS[direction]}, {_MEASURES[measure]}{where}"
    if "failed_share" in name:
        return "clips left out because they do not decode"
    return name.rpartition("/")[2].replace("_", " ")
