"""Names of the MSR-VTT videos, `video0` to `video9999`, as used here and in MSRVTT-QA."""

from typing import Any

from svilm_data.annotations.numbered_videos import video_number

WORD, LAST = "video", 9999


def record_id(value: Any, where: str) -> str:
    """Returns `video7020` for 7020, "7020", "video7020" and "video7020.mp4".

    Raises:
      PreparationError: naming `where`, for anything that is not a video of MSR-VTT.
    """
    return f"{WORD}{video_number(value, WORD, LAST, where)}"


def video_names(video: str) -> tuple[str, ...]:
    """Returns the file names of a record id: its own, then the key of the 1k-A list, which has the same number."""
    return (video, "msr" + video.removeprefix(WORD))
