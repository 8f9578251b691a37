"""Grades of default values, declared with the type of a config field: `num_frames: Stated[Frames] = 32`.

They tell what a default rests on: the paper of the method (arXiv 2303.16341; for temporal localization, also the paper
of G-TAD), somebody's account of it, or a decision of this project.
"""

import enum
from typing import Annotated, TypeVar


class Grade(enum.Enum):
    """What the default of a field rests on; the value is the letter used in the documentation."""

    STATED = "P"  # stated by the paper, or by two independent readers who quote it
    ATTRIBUTED = "A"  # attributed to the paper by one secondary source; believed, not verified
    CHOSEN = "C"  # chosen by this project, since no source settles it


_T = TypeVar("_T")
Stated = Annotated[_T, Grade.STATED]
Attributed = Annotated[_T, Grade.ATTRIBUTED]
Chosen = Annotated[_T, Grade.CHOSEN]
