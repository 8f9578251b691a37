"""Shortcut baselines for retrieval: readers that see only colors, or colors and the background.

A gallery on which these oracles do well shows nothing about shapes, sizes or motions, so their recall is reported next
to the model's. They read the words of a caption and the *annotations* of the clips, without error, and split ties
evenly: any ambiguity is resolved in the oracle's favor, since it is the bar to clear.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from svilm_jax.input.schema import Record

# Basic color terms of English, and textures used to describe backgrounds.
_COLOR_TERMS = """
red green blue yellow orange purple violet pink cyan turquoise magenta brown black white gray grey
"""
_TEXTURE_TERMS = """
striped checkered chequered dotted plain wavy grainy speckled tiled zigzag hatched crosshatched spotted
"""
COLORS, BACKGROUNDS = (frozenset(re.findall(r"\w+", terms)) for terms in (_COLOR_TERMS, _TEXTURE_TERMS))

Words = tuple[str, ...]


def color_words(text: str, colors: frozenset[str] = COLORS) -> Words:
    """Returns the color words of a text, in reading order and with repetitions."""
    return tuple(word for word in _words(text) if word in colors)


def background_words(text: str, backgrounds: frozenset[str] = BACKGROUNDS) -> frozenset[str]:
    """Returns the texture words of a text."""
    return frozenset(_words(text)) & backgrounds


def clip_colors(record: Record, colors: frozenset[str] = COLORS) -> Words:
    """Returns the colors of a clip's objects, mentioned in captions or not; without objects, those of its captions.

    A color that appears in a caption but in no object's phrase belongs to the background and is excluded.
    """
    if record.objects:
        return tuple(word for item in record.objects for word in color_words(item.phrase, colors))
    return max((color_words(caption.text, colors) for caption in record.captions), key=len, default=())


def clip_backgrounds(records: Sequence[Record], backgrounds: frozenset[str] = BACKGROUNDS) -> list[frozenset[str]]:
    """Returns the background words of every clip, from its captions and from the answers to its questions.

    Words about one clip apply to all clips of its `group`, which show the same background: otherwise the oracle
    could distinguish look-alikes by which captions happen to mention the shared background.
    """
    own = [
        frozenset[str]().union(
            *(background_words(caption.text, backgrounds) for caption in record.captions),
            *(background_words(question.answer, backgrounds) for question in record.questions),
        )
        for record in records
    ]
    of_group: dict[str, frozenset[str]] = {}
    for record, words in zip(records, own, strict=True):
        of_group[record.group] = of_group.get(record.group, frozenset()) | words
    return [of_group[record.group] if record.group else words for record, words in zip(records, own, strict=True)]


def oracle_recall_at_1(
    captions: Sequence[str],
    owner: np.ndarray,
    records: Sequence[Record],
    *,
    read_background: bool,
    colors: frozenset[str] = COLORS,
    backgrounds: frozenset[str] = BACKGROUNDS,
) -> float:
    """Computes the expected text-to-video R@1 of the oracle, which draws one of the best-matching clips at random.

    Clips are ranked by the number of colors that only the caption or only the clip has, counted with repetitions. With
    `read_background`, a caption that names a background is first matched with the clips known to have it; for a caption
    that names none, the colors decide.

    Args:
      captions: the queries.
      owner: int [Q], for each query the index in `records` of the clip that it describes.
      records: the gallery.
      read_background: whether the oracle sees backgrounds, too.
      colors: color words.
      backgrounds: background words.

    Returns:
      The mean over queries of (1 / number of clips tied at the best match) where the correct clip is among them.
    """
    seen_colors = [Counter(clip_colors(record, colors)) for record in records]
    seen_backgrounds = clip_backgrounds(records, backgrounds)
    credit = []
    for caption, right in zip(captions, owner, strict=True):
        caption_colors = Counter(color_words(caption, colors))
        # Color words of the background ("a pale blue wall") are not object colors: ignore those that the correct clip's
        # objects do not have, in the oracle's favor.
        caption_colors &= seen_colors[right]
        words = background_words(caption, backgrounds) if read_background else frozenset()
        distances = [
            (len(words - background), _difference(caption_colors, color))
            for color, background in zip(seen_colors, seen_backgrounds, strict=True)
        ]
        best = min(distances)
        credit.append(1.0 / distances.count(best) if distances[right] == best else 0.0)
    return float(np.mean(credit))


def oracle_recalls(
    captions: Sequence[str], owner: np.ndarray, records: Sequence[Record], sets: Sequence[np.ndarray]
) -> dict[str, float]:
    """Returns the text-to-video R@1 of both oracles: `oracle_colors`, and `oracle` (colors and background).

    Args:
      captions: the queries.
      owner: int [Q], the clip of each.
      records: all clips.
      sets: galleries as arrays of indices into `records`; every query is ranked within the set of its clip.

    Returns:
      An empty dict if no clip has annotated objects or no caption a color word: on such data the oracles would measure
      what annotators chose to mention, and not what is visible.
    """
    if not any(record.objects for record in records) or not any(color_words(caption) for caption in captions):
        return {}
    recalls = {}
    for name, read_background in (("oracle_colors", False), ("oracle", True)):
        total = 0.0
        for members in sets:
            queries = np.flatnonzero(np.isin(owner, members)).tolist()
            local = {int(member): i for i, member in enumerate(members)}
            total += len(queries) * oracle_recall_at_1(
                [captions[q] for q in queries],
                np.array([local[int(owner[q])] for q in queries]),
                [records[int(member)] for member in members],
                read_background=read_background,
            )
        recalls[name] = total / len(captions)
    return recalls


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _difference(one: Counter[str], other: Counter[str]) -> int:
    return sum(((one - other) + (other - one)).values())
