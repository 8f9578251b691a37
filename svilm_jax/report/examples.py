"""Model outputs on single evaluation clips, computed for the report.

Examples are selected by their position in the split, evenly spaced, before anything is computed, and not by their
results. The exception is labeled on the page: the worst queries of the gallery.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from svilm_jax.config import Config
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError, object_masks
from svilm_jax.evaluation.grounding.evaluator import GroundingEvaluator, GroundingOptions
from svilm_jax.evaluation.registry import build_evaluators
from svilm_jax.evaluation.retrieval.evaluator import Gallery, HardRetrievalEvaluator, RetrievalEvaluator, encode_gallery
from svilm_jax.evaluation.retrieval.metrics import pessimistic_ranks
from svilm_jax.evaluation.temporal_grouping.evaluator import GroupingOptions, TemporalGroupingEvaluator, spliced_clips
from svilm_jax.evaluation.temporal_grouping.mean_features import mean_features
from svilm_jax.evaluation.temporal_grouping.spans import read_span
from svilm_jax.inference.encoder import Encoder
from svilm_jax.inference.heat_maps import heat_maps, resolve_readout
from svilm_jax.input.records import splits
from svilm_jax.input.splicing import Splice

log = logging.getLogger(__name__)

# Splits to take examples from if the config has no evaluator that names a split.
SPLITS = ("test", "validation", "train")


@dataclasses.dataclass(frozen=True)
class RetrievedClip:
    """A retrieved clip: frames uint8 [T, H, W, 3], its own caption, its cosine, and whether it is correct."""

    frames: np.ndarray
    caption: str
    similarity: float
    right: bool


@dataclasses.dataclass(frozen=True)
class RetrievalExample:
    """A query and the clips most similar to it, best first; `rank` of the correct clip among `gallery` clips."""

    caption: str
    rank: int
    gallery: int
    clips: list[RetrievedClip]
    kind: str  # ordinary | worst | hard


@dataclasses.dataclass(frozen=True)
class PhraseMap:
    """A phrase on a clip: heat, mass float [Nt, h, w], region bool [Nt, h, w], mask bool [T, H, W] or None."""

    phrase: str
    heat: np.ndarray
    mass: np.ndarray
    region: np.ndarray
    mask: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class GroundingExample:
    """Frames uint8 [T, H, W, 3] of a clip, its caption, and two or more phrases on it."""

    frames: np.ndarray
    caption: str
    phrases: list[PhraseMap]


@dataclasses.dataclass(frozen=True)
class SpliceExample:
    """A spliced clip, the span read from the model, and the cosines float [Nt, Nt] between its temporal indices."""

    splice: Splice
    predicted: tuple[int, int]
    similarity: np.ndarray


@dataclasses.dataclass(frozen=True)
class Examples:
    """Data of all figures; `notes` explains missing or different content, one sentence each."""

    retrieval: list[RetrievalExample]
    grounding: list[GroundingExample]
    splices: list[SpliceExample]
    tubelet: tuple[int, int, int]
    twins: bool
    notes: list[str]


def collect(encoder: Encoder, config: Config, *, clips_each: int = 4, worst: int = 2, top: int = 5) -> Examples:
    """Collects examples from the splits of the config's evaluators, or else from the dataset's own splits.

    If the dataset has no masks, phrases of the captions are shown without outlines; if it has no look-alike pairs,
    neighboring clips are spliced. What cannot be shown at all is left out with a note.
    """
    evaluators = build_evaluators(config)
    notes: list[str] = []
    found: dict[str, list] = {"retrieval": [], "grounding": [], "splices": []}
    twins = any(isinstance(e, TemporalGroupingEvaluator) and e.options.partners == "twin" for e in evaluators.values())
    jobs: list[tuple[str, Any]] = [
        (
            "retrieval",
            lambda: _retrieval(encoder, _of_kind(evaluators, RetrievalEvaluator), config, clips_each, worst, top),
        ),
        ("retrieval", lambda: _hard_retrieval(encoder, _of_kind(evaluators, HardRetrievalEvaluator), worst, top)),
        ("grounding", lambda: _grounding(encoder, _of_kind(evaluators, GroundingEvaluator), config, clips_each, notes)),
        (
            "splices",
            lambda: _splices(encoder, _of_kind(evaluators, TemporalGroupingEvaluator), config, 2 * clips_each, notes),
        ),
    ]
    for name, job in jobs:
        try:
            found[name] += job()
        except EvaluationError as error:
            notes.append(f"No {name} examples: {error}.")
    return Examples(**found, tubelet=config.model.video.tubelet_size, twins=twins, notes=notes)


def _retrieval(
    encoder: Encoder, task: RetrievalEvaluator | None, config: Config, count: int, worst: int, top: int
) -> list[RetrievalExample]:
    clips = task.clips() if task else _default_clips(config)
    gallery = encode_gallery(encoder, clips, clips.numbers)
    similarity, everything = gallery.similarity, np.arange(len(gallery.records))
    ranks = pessimistic_ranks(similarity, gallery.positives)
    chosen = _spaced(len(ranks), count)
    examples = [_example(clips, gallery, query, everything, top, "ordinary") for query in chosen]
    bad = [int(q) for q in np.argsort(-ranks, kind="stable") if ranks[q] > 1 and int(q) not in chosen][:worst]
    return examples + [_example(clips, gallery, query, everything, top, "worst") for query in bad]


def _hard_retrieval(
    encoder: Encoder, task: HardRetrievalEvaluator | None, count: int, top: int
) -> list[RetrievalExample]:
    if task is None:
        return []
    clips = task.clips()
    groups = [numbers for numbers in clips.groups().values() if len(numbers) > 1]
    examples = []
    for number in _spaced(len(groups), count):
        gallery = encode_gallery(encoder, clips, groups[number])
        members = np.arange(len(gallery.records))
        examples.append(_example(clips, gallery, 0, members, top, "hard"))
    return examples


def _example(
    clips: EvaluationClips, gallery: Gallery, query: int, members: np.ndarray, top: int, kind: str
) -> RetrievalExample:
    similarity = gallery.similarity[query, members]
    right = members == gallery.owner[query]
    # Among ties the incorrect clips are shown first, as they are ranked.
    best = np.lexsort((right, -similarity))[:top]
    frames = {position: clip.frames for position, clip in clips.read([gallery.numbers[int(members[i])] for i in best])}
    return RetrievalExample(
        caption=gallery.captions[query],
        rank=int(pessimistic_ranks(similarity[None], right[None])[0]),
        gallery=len(members),
        clips=[
            RetrievedClip(
                frames[position],
                gallery.captions[int(np.flatnonzero(gallery.owner == members[i])[0])],
                float(similarity[i]),
                bool(right[i]),
            )
            for position, i in enumerate(best)
        ],
        kind=kind,
    )


def _grounding(
    encoder: Encoder, task: GroundingEvaluator | None, config: Config, count: int, notes: list[str]
) -> list[GroundingExample]:
    clips = task.clips() if task else _default_clips(config)
    options = task.options if task else GroundingOptions()
    readout = resolve_readout(options.readout, config.model.grouping.assignment)
    block = task.chosen_block(encoder) if task else -1
    scenes: list[tuple[np.ndarray, str, list[str], np.ndarray | None]] = []
    candidates = [n for n in clips.numbers if len(_phrases(clips.records[n])) > 1]
    for _, clip in clips.read([candidates[i] for i in _spaced(len(candidates), count)]):
        scene = object_masks(clip)
        phrases, masks = scene if scene else (_phrases(clip.record), None)
        caption = clip.record.captions[0].text if clip.record.captions else ""
        scenes.append((clip.frames, caption, phrases[:3], masks))
    if not scenes:
        raise EvaluationError(f"split {clips.split!r}: no decodable clip with two phrases")
    if all(masks is None for *_, masks in scenes):
        notes.append("This dataset has no object masks, so the maps are shown without ground-truth outlines.")
    readings = encoder.videos([frames for frames, *_ in scenes], GroundingEvaluator.READ)
    examples = []
    for (frames, caption, phrases, masks), reading in zip(scenes, readings, strict=True):
        heat, mass, matched = heat_maps(reading, encoder.phrases(phrases), readout, options.temperature, block)
        winners = reading["assignments"][block].argmax(axis=0)  # [Nt, h, w]
        maps = [
            PhraseMap(phrase, heat[k], mass[k], winners == matched[k], None if masks is None else masks[k])
            for k, phrase in enumerate(phrases)
        ]
        examples.append(GroundingExample(frames, caption, maps))
    return examples


def _splices(
    encoder: Encoder, task: TemporalGroupingEvaluator | None, config: Config, count: int, notes: list[str]
) -> list[SpliceExample]:
    clips = task.clips() if task else _default_clips(config)
    options = task.options if task else GroupingOptions(partners="next")
    if options.partners != "twin":
        notes.append("This dataset has no look-alike pairs: clips are spliced with their neighbor in the split.")
    # Only the shown clips are decoded: pairs evenly spaced over the split.
    if options.partners == "twin":
        pairs = [numbers[:2] for numbers in clips.groups().values() if len(numbers) > 1]
        clips.numbers = [n for i in _spaced(len(pairs), -(-count // 2)) for n in pairs[i]]
    else:
        starts = _spaced(len(clips.numbers) // 2, -(-count // 2))
        clips.numbers = [clips.numbers[2 * i + turn] for i in starts for turn in (0, 1)]
    per_tubelet = config.model.video.tubelet_size[0]
    splices = list(spliced_clips(clips, options.partners, options.seed, per_tubelet))[:count]
    examples = []
    common = np.zeros(())
    if options.common_clips:
        data = config.input
        common = mean_features(encoder, data.dataset, data.split, options.common_clips)["model"]
    readings = encoder.videos([item.frames for item in splices], ("time_tokens",))
    for item, reading in zip(splices, readings, strict=True):
        z = reading["time_tokens"].astype(np.float64) - common
        unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
        examples.append(SpliceExample(item, read_span(z, options.readout), unit @ unit.T))
    return examples


def _default_clips(config: Config) -> EvaluationClips:
    """Returns at most 64 clips of the first split of `SPLITS` that the dataset has."""
    known = splits(config.input.dataset)
    split = next((name for name in SPLITS if name in known), next(iter(known)))
    return EvaluationClips(config.input.dataset, split, 64, config.model.video)


def _of_kind(evaluators: dict, kind: type) -> Any:
    return next((evaluator for evaluator in evaluators.values() if isinstance(evaluator, kind)), None)


def _phrases(record: Any) -> list[str]:
    objects = list(dict.fromkeys(item.phrase for item in record.objects))
    return objects or (list(dict.fromkeys(record.captions[0].phrases)) if record.captions else [])


def _spaced(length: int, count: int) -> Sequence[int]:
    """Returns `count` positions (or as many as there are), evenly spaced over `length`."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist() if length else []
