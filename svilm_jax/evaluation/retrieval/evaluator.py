"""Zero-shot text-to-video and video-to-text retrieval evaluators, over a gallery and within look-alike sets.

The gallery is all clips of a split (docs/method.md, 1.7: cosine similarity of the two towers). The hard variant queries
within each set of clips that share colors and background (`Record.group`), which only shapes, sizes and motions
distinguish.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from svilm_jax.config import Config
from svilm_jax.config.constraints import CountOrZero, LocalPath, PositiveOrZero, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError, whole_captions
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.evaluation.retrieval.dual_softmax import dual_softmax
from svilm_jax.evaluation.retrieval.metrics import RANKS, chance_metrics, pessimistic_ranks, recall_metrics
from svilm_jax.evaluation.retrieval.shortcut_baselines import oracle_recalls
from svilm_jax.evaluation.section import Section
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.schema import Record

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RetrievalOptions:
    """Options of retrieval over the whole gallery.

    Attributes:
      dataset: folder of a prepared dataset; "": `config.input.dataset`.
      split: split or view of it.
      limit: use the first N clips; 0: all.
      paragraph: none, every caption is a query; sentences, one query per clip, the mean of its captions' embeddings;
        joined, one query per clip, all captions as one text (truncated to the length of the text tower).
      dual_softmax: temperature of additional metrics `transductive_...` (arXiv 2109.04290), which use all queries
        together; 0: none.
      prefix: prefix of the metric names.
    """

    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "test"
    limit: Chosen[CountOrZero] = 0
    paragraph: Chosen[Literal["none", "sentences", "joined"]] = "none"
    dual_softmax: Chosen[PositiveOrZero] = 0.0
    prefix: Chosen[Text] = "retrieval"


@dataclasses.dataclass(frozen=True)
class HardRetrievalOptions:
    """Options of retrieval within look-alike sets; fields as for the gallery."""

    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "hard_test"
    limit: Chosen[CountOrZero] = 0
    prefix: Chosen[Text] = "retrieval_hard"


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Clips and captions in the joint space.

    Attributes:
      numbers: record number of every clip in the split.
      records: the clips' records, without video and masks.
      captions: all captions of all clips.
      owner: int [Q], for every caption the index of its clip in `records`.
      video: float32 [V, C], L2-normalized.
      text: float32 [Q, C], L2-normalized.
    """

    numbers: list[int]
    records: list[Record]
    captions: list[str]
    owner: np.ndarray
    video: np.ndarray
    text: np.ndarray

    @property
    def similarity(self) -> np.ndarray:
        """Cosine of captions and clips, float32 [Q, V]."""
        return self.text @ self.video.T

    @property
    def positives(self) -> np.ndarray:
        """True where the caption is the clip's, bool [Q, V]."""
        return self.owner[:, None] == np.arange(len(self.records))


def encode_gallery(encoder: Encoder, clips: EvaluationClips, numbers: list[int], paragraph: str = "none") -> Gallery:
    """Embeds the decodable clips with captions, and their captions or paragraphs.

    Args:
      encoder: encoder of the model.
      clips: clips of the split.
      numbers: record numbers of the gallery.
      paragraph: see `RetrievalOptions`.

    Raises:
      EvaluationError: no such clip.
    """
    kept: list[tuple[int, Record]] = []

    def frames() -> Iterator[np.ndarray]:
        for position, clip in clips.read(numbers):
            if whole_captions(clip.record):
                kept.append((numbers[position], dataclasses.replace(clip.record, video=b"", masks=None)))
                yield clip.frames

    video = [reading["embedding"] for reading in encoder.videos(frames(), ("embedding",))]
    if not video:
        raise EvaluationError(
            f"split {clips.split!r}: no decodable clip with a caption; {len(clips.failed)} clips failed"
        )
    captions = [caption for _, record in kept for caption in whole_captions(record)]
    owner = np.repeat(np.arange(len(kept)), [len(whole_captions(record)) for _, record in kept])
    if paragraph == "joined":
        captions = [" ".join(whole_captions(record)) for _, record in kept]
    text = encoder.texts(captions)
    if paragraph == "sentences":
        sums = np.zeros((len(kept), text.shape[1]), np.float32)
        np.add.at(sums, owner, text)
        text = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        captions = [" ".join(whole_captions(record)) for _, record in kept]
    if paragraph != "none":
        owner = np.arange(len(kept))
    return Gallery(
        numbers=[number for number, _ in kept],
        records=[record for _, record in kept],
        captions=captions,
        owner=owner,
        video=np.stack(video),
        text=text,
    )


class RetrievalEvaluator:
    """Both directions over the whole split: R@1, R@5, R@10, MedR and MeanR, with chance level and oracles."""

    SECTION = Section(
        "Text-video retrieval, full gallery",
        "Zero-shot, by cosine similarity; ties count against the model. The oracles are shortcut baselines that see "
        "only the colors (oracle colors), or the colors and the background (oracle), of clips and captions, without "
        "error.",
        headline="t2v_R1",
    )

    def __init__(self, options: RetrievalOptions, config: Config):
        self.options = options
        self._dataset, self._video = options.dataset or config.input.dataset, config.model.video
        self.clips()  # a missing split is an error now, and not after hours of training

    def clips(self) -> EvaluationClips:
        """Returns the clips of the gallery."""
        return EvaluationClips(self._dataset, self.options.split, self.options.limit, self._video)

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields the metrics of both directions, with the baselines that `metrics` and `shortcut_baselines` define."""
        clips, prefix = self.clips(), self.options.prefix
        gallery = encode_gallery(encoder, clips, clips.numbers, self.options.paragraph)
        everything = [np.arange(len(gallery.records))]
        oracles = oracle_recalls(gallery.captions, gallery.owner, gallery.records, everything)
        temperature = self.options.dual_softmax
        for reranked in (False, True) if temperature else (False,):
            for way, similarity, positives in (
                ("t2v", gallery.similarity, gallery.positives),
                ("v2t", gallery.similarity.T, gallery.positives.T),
            ):
                ranks = pessimistic_ranks(dual_softmax(similarity, temperature) if reranked else similarity, positives)
                chance = chance_metrics(positives)
                for measure, value in recall_metrics(ranks).items():
                    baselines = {"chance": chance[measure]}
                    if (way, measure, reranked) == ("t2v", "R1", False):
                        baselines |= oracles
                    name = f"{prefix}/{'transductive_' if reranked else ''}{way}"
                    remark = "reranked by dual softmax" if reranked else ""
                    yield _metric(name, way, measure, value, baselines, remark)
        yield clips.failed_fraction(prefix)


class HardRetrievalEvaluator:
    """Both directions within each set of look-alikes: R@1, with chance level and oracles, pooled over queries."""

    SECTION = Section(
        "Text-video retrieval within look-alike sets",
        "Within sets of clips that share colors and background and differ in shape, size or motion.",
        headline="t2v_R1",
    )

    def __init__(self, options: HardRetrievalOptions, config: Config):
        self.options = options
        self._dataset, self._video = options.dataset or config.input.dataset, config.model.video
        self.clips()

    def clips(self) -> EvaluationClips:
        """Returns the clips of all sets."""
        return EvaluationClips(self._dataset, self.options.split, self.options.limit, self._video)

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields R@1 in both directions. A set with fewer than two decodable clips is left out."""
        clips, prefix = self.clips(), self.options.prefix
        look_alikes = [numbers for numbers in clips.groups().values() if len(numbers) > 1]
        if not look_alikes:
            raise EvaluationError(
                f"split {clips.split!r}: no two clips share a group, so no look-alike set can be ranked"
            )
        gallery = encode_gallery(encoder, clips, [number for numbers in look_alikes for number in numbers])
        by_group: dict[str, list[int]] = {}
        for index, record in enumerate(gallery.records):
            by_group.setdefault(record.group, []).append(index)
        sets = [np.array(members) for members in by_group.values() if len(members) > 1]
        if not sets:
            raise EvaluationError(f"split {clips.split!r}: no set with two decodable clips")
        if len(sets) < len(by_group):
            log.warning("%s: %d sets with one decodable clip left out", clips.split, len(by_group) - len(sets))
        similarity, positives = gallery.similarity, gallery.positives
        t2v, v2t, chance_t2v, chance_v2t = [], [], [], []
        for members in sets:
            queries = np.flatnonzero(np.isin(gallery.owner, members))
            selected = np.ix_(queries, members)
            t2v.append(pessimistic_ranks(similarity[selected], positives[selected]))
            v2t.append(pessimistic_ranks(similarity[selected].T, positives[selected].T))
            chance_t2v.append(len(queries) * chance_metrics(positives[selected], (1,))["R1"])
            chance_v2t.append(len(members) * chance_metrics(positives[selected].T, (1,))["R1"])
        in_any_set = np.isin(gallery.owner, np.concatenate(sets))
        oracles = oracle_recalls(
            [caption for caption, use in zip(gallery.captions, in_any_set, strict=True) if use],
            gallery.owner[in_any_set],
            gallery.records,
            sets,
        )
        for way, ranks, chance, compared in (("t2v", t2v, chance_t2v, oracles), ("v2t", v2t, chance_v2t, {})):
            pooled = np.concatenate(ranks)
            baselines = {"chance": float(sum(chance) / len(pooled)), **compared}
            value = float(np.mean(pooled == 1))
            yield _metric(f"{prefix}/{way}", way, "R1", value, baselines, "look-alike sets")
        yield clips.failed_fraction(prefix)


def _metric(
    name: str, way: str, measure: str, value: float, baselines: Mapping[str, float], remark: str = ""
) -> Metric:
    """Returns the record `NAME_MEASURE` of a direction, `t2v` or `v2t`."""
    is_rank = measure in RANKS
    direction = "text to video" if way == "t2v" else "video to text"
    label = f"{direction}, {RANKS[measure] if is_rank else 'recall at ' + measure.removeprefix('R')}"
    return Metric(
        f"{name}_{measure}",
        value,
        Unit.RANK if is_rank else Unit.FRACTION,
        f"{label}, {remark}" if remark else label,
        higher_is_better=not is_rank,
        baselines=baselines,
    )
