"""Order of the videos of a split: look-alikes adjacent to each other, as the sampler expects them."""

from collections.abc import Iterable

from svilm_data.annotations.published_dataset import VideoAnnotation


def group_adjacent(videos: Iterable[VideoAnnotation]) -> list[VideoAnnotation]:
    """Reorders videos so that those of one record group are adjacent, at the position of the first of them."""
    groups: dict[tuple[str, int], list[VideoAnnotation]] = {}
    for number, video in enumerate(videos):
        group = video.record.group
        groups.setdefault((group, -1 if group else number), []).append(video)
    return [video for members in groups.values() for video in members]
