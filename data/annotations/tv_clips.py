"""Clips of television episodes: record, file name and episode, as named in TVQA, TVR and VIOLIN."""

from svilm_data.annotations.published_dataset import VideoAnnotation

from svilm_jax.input.schema import Question, Record


def tv_clip(name: str, separator: str, questions: tuple[Question, ...] = ()) -> VideoAnnotation:
    """Returns the annotation of a clip of an episode.

    Args:
      name: name of the clip, and of its file without ending.
      separator: text that follows the name of the episode (`castle_s01e01_seg02_clip_04`: `_seg`). Clips of an episode
        show the same people and places, and therefore share a record group.
      questions: questions about the clip.
    """
    episode, separated, _ = name.partition(separator)
    group = episode if separated else ""
    return VideoAnnotation(Record(id=name, video=b"", group=group, questions=questions), (name,))
