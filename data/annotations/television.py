"""Video names and episodes of television clips."""

from collections.abc import Iterable

from svilm_data.annotations.published_dataset import VideoAnnotation

from svilm_jax.input.schema import Question, Record


def clip(name: str, mark: str, questions: tuple[Question, ...] = ()) -> VideoAnnotation:
    """Returns a clip of an episode.

    Args:
      name: of the clip, and of its file without ending.
      mark: separator after the episode's name (`castle_s01e01_seg02_clip_04`: `_seg`). Clips of an episode show the
        same people and places, and therefore share a record group.
    """
    episode, found, _ = name.partition(mark)
    return VideoAnnotation(Record(id=name, video=b"", group=episode if found else "", questions=questions), (name,))


def by_group(videos: Iterable[VideoAnnotation]) -> list[VideoAnnotation]:
    """Reorders videos so that those of one group are adjacent, groups in order of first occurrence."""
    groups: dict[tuple[str, int], list[VideoAnnotation]] = {}
    for number, wanted in enumerate(videos):
        group = wanted.record.group
        groups.setdefault((group, -1 if group else number), []).append(wanted)
    return [wanted for members in groups.values() for wanted in members]
