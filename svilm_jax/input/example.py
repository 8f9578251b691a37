"""Training examples: the frames of a record, with their texts or labels.

Random draws are made in a fixed order that is independent of the options, from a generator seeded by the seed, the
epoch and the record's number alone.
"""

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np

from svilm_jax.config import InputConfig, Task, TextConfig, VideoConfig
from svilm_jax.input import augmentation, labels, temporal_sampling
from svilm_jax.input.batch_stream import Batch
from svilm_jax.input.clips import FrameCache, decode_clip
from svilm_jax.input.records import DamagedRecordError, RecordSource
from svilm_jax.input.sampler import clip_rng
from svilm_jax.input.schema import Action, Caption, Record
from svilm_jax.input.sentences import answered, clauses_of
from svilm_jax.text import prompts
from svilm_jax.text.direction_words import mentions_side
from svilm_jax.text.tokenizers import Tokenizer
from svilm_jax.video.crop_box import CropBox, center_crop
from svilm_jax.video.decoding import VideoError


def choose_caption(record: Record, rng: np.random.Generator | None) -> Caption | None:
    """Returns a random caption, or the first one without `rng`; None if the record has none."""
    if not record.captions:
        return None
    return record.captions[int(rng.integers(len(record.captions))) if rng is not None else 0]


@dataclasses.dataclass(frozen=True)
class _TextTargets:
    """Text targets of a clip: arrays, the words that a flip must not contradict, and the segment they describe."""

    arrays: Batch
    words: Sequence[str]
    usable: bool
    sentences: Sequence[Caption] = ()
    start: float = -1.0
    end: float = -1.0


class ClipLoader:
    """Loads one record in one epoch into one row of a batch. Picklable for worker processes."""

    def __init__(
        self,
        records: RecordSource,
        config: InputConfig,
        video: VideoConfig,
        text: TextConfig,
        tokenizer: Tokenizer,
        seed: int,
        classes: Sequence[str] = (),
        task: Task = "video_text",
    ):
        self._records, self._config, self._video, self._text = records, config, video, text
        self._tokenizer, self._seed, self._task = tokenizer, seed, task
        self._numbers = labels.numbered(classes)
        self._cache = FrameCache(config.cache_bytes) if config.cache_bytes else None

    def __call__(self, epoch: int, index: int) -> Batch:
        """Returns the row of record `index` in epoch `epoch`: `TrainInput`'s arrays without their first axis."""
        rng = clip_rng(self._seed, epoch, index)
        try:
            record = self._record(index)
        except DamagedRecordError:
            record = Record(id="", video=b"")  # counted and named like a clip that does not decode
        targets = self._choose_targets(record, rng)
        sentences, row = targets.sentences, dict(targets.arrays)
        frames, window = None, (0.0, 0.0)
        if targets.usable:
            with contextlib.suppress(VideoError):  # `valid` says so; the consumer counts, names and limits it
                words = [*targets.words, *(caption.text for caption in sentences)]
                frames, window = self._frames(record, targets.start, targets.end, words, rng, index)
        size, valid = self._video.image_size, frames is not None
        if self._config.num_sentences:
            row |= self._sentence_arrays(sentences if valid else (), window)
        if "noun_mask" in row and not valid:
            row["noun_mask"] = np.zeros_like(row["noun_mask"])
        shape = (self._video.num_frames, size, size, 3)
        return {
            "video": np.zeros(shape, np.uint8) if frames is None else frames,  # [T, H, W, 3]
            **row,
            "valid": np.array(valid),
            "index": np.array(index, np.int64),
        }

    def _choose_targets(self, record: Record, rng: np.random.Generator) -> "_TextTargets":
        """Draws the texts or labels of the clip, in an order that does not depend on the options."""
        config = self._config
        sentences: tuple[Caption, ...]
        if self._task == "question_answering":
            question, target = labels.choose_question(record, self._numbers, rng)
            words = question.question if question else ""
            arrays = {**self._text_arrays(words), "target": np.array(target, np.int32)}
            sentences = self._choose_sentences(record, rng)
            if config.sentences == "question":
                sentences = (answered(question),) if question and config.num_sentences else ()
            # For a mirrored clip "sliding left" is the wrong answer: answers count as text, and so do labels below.
            said = [words, question.answer] if question else []
            return _TextTargets(arrays, said, question is not None, sentences)
        if self._task == "action_recognition":
            action, target = labels.choose_action(record, self._numbers, rng)
            times = (action.start, action.end) if action else (-1.0, -1.0)
            words = action.label if action else ""
            usable = target != labels.UNKNOWN
            return _TextTargets({"target": np.array(target, np.int32)}, [words], usable, (), *times)
        if config.text != "caption":
            chosen = self._choose_sentences(record, rng)
            spoken = chosen if config.text == "sentences" else record.captions
            phrases = self._choose_phrases([p for caption in spoken for p in caption.phrases], rng)
            paragraph = " ".join(caption.text for caption in spoken)
            arrays = self._noun_arrays(phrases, rng)
            if config.text == "paragraph":
                arrays |= self._text_arrays(paragraph)
            return _TextTargets(arrays, [paragraph, *phrases], bool(record.captions), chosen)
        caption = choose_caption(record, rng)
        words = caption.text if caption else ""
        phrases = self._choose_phrases(caption.phrases if caption else (), rng)
        arrays = {**self._text_arrays(words), **self._noun_arrays(phrases, rng)}
        start, end = (caption.start, caption.end) if caption else (-1.0, -1.0)
        sentences = ()
        if config.num_sentences and config.sentences == "clauses":
            sentences = clauses_of(caption)[: config.num_sentences] if caption else ()
        elif config.num_sentences:  # alignment needs the whole video
            sentences, start, end = self._choose_sentences(record, rng), -1.0, -1.0
        return _TextTargets(arrays, [words, *phrases], caption is not None, sentences, start, end)

    def _choose_phrases(self, phrases: Sequence[str], rng: np.random.Generator) -> list[str]:
        return prompts.choose_phrases(phrases, self._config.num_phrases, rng)

    def _text_arrays(self, words: str) -> Batch:
        ids = self._tokenizer.encode([words], self._text.max_length)[0]  # [L]
        return {"text": ids, "text_mask": self._tokenizer.mask(ids)}

    def _noun_arrays(self, phrases: Sequence[str], rng: np.random.Generator) -> Batch:
        config, length = self._config, self._text.phrase_length or self._text.max_length
        nouns, mask = prompts.encode_phrases(phrases, config.num_phrases, self._tokenizer, length, config.prompts, rng)
        return {"nouns": nouns, "noun_mask": mask}

    def _choose_sentences(self, record: Record, rng: np.random.Generator) -> tuple[Caption, ...]:
        """Returns at most S captions, in the order of the record."""
        count, captions = self._config.num_sentences, record.captions
        if len(captions) <= count or not count:
            return captions[:count]
        chosen = sorted(rng.choice(len(captions), size=count, replace=False))
        return tuple(captions[i] for i in chosen)

    def _sentence_arrays(self, sentences: Sequence[Caption], window: tuple[float, float]) -> Batch:
        count, seconds = self._config.num_sentences, max(window[1] - window[0], 1e-6)
        ids = self._tokenizer.encode(
            [c.text for c in sentences] + [""] * (count - len(sentences)), self._text.max_length
        )
        spans = np.full((count, 2), -1.0, np.float32)  # [S, 2]
        for row, caption in zip(spans, sentences, strict=False):
            if caption.start >= 0 or caption.end >= 0:
                end = window[1] if caption.end < 0 else caption.end  # as in `temporal_sampling.window`
                row[:] = np.clip(np.subtract([caption.start, end], window[0]) / seconds, 0.0, 1.0)
        ids[len(sentences) :] = self._tokenizer.pad_id  # nothing but padding, by which the model knows that it is none
        return {"sentences": ids, "sentence_mask": np.arange(count) < len(sentences), "sentence_spans": spans}

    def failure(self, record: Record) -> str | None:
        """Returns why a record cannot be used, or None if it can."""
        timed: Sequence[Caption | Action] = ()
        if self._task == "question_answering":
            name, found = "question", bool(record.questions)
        elif self._task == "action_recognition":
            name, found, timed = "action", bool(record.actions), record.actions
        else:
            name, found, timed = "caption", bool(record.captions), record.captions
        if not found:
            return f"{record.id}: has no {name}"
        if self._task == "action_recognition" and not any(a.label in self._numbers for a in record.actions):
            return f"{record.id}: has no action among the classes of the head"
        windows = {(-1.0, -1.0)} | {(segment.start, segment.end) for segment in timed}
        reason = None
        for start, end in sorted(windows):
            try:
                decode_clip(record, self._video, start, end)
            except VideoError as error:
                reason = str(error)
        return reason

    def _frames(
        self,
        record: Record,
        start: float,
        end: float,
        texts: Sequence[str],
        rng: np.random.Generator,
        index: int,
    ) -> tuple[np.ndarray, tuple[float, float]]:
        """Returns uint8 [T, H, W, 3], and their window in seconds."""
        config, size = self._config, self._video.image_size

        def crop(height: int, width: int) -> CropBox:
            if config.random_crop:
                box = augmentation.random_resized_crop(height, width, size, config.crop_scale, config.crop_ratio, rng)
            else:
                box = center_crop(height, width, size)
            # Drawn last and always: whether a text contains direction words must not change the other draws.
            return box.flipped(rng.random() < 0.5 and config.flip and not mentions_side(texts))

        frames = decode_clip(record, self._video, start, end, rng, self._cache, index, crop)
        window = temporal_sampling.window(frames.info.duration, start, end)
        return frames.images, window

    def _record(self, index: int) -> Record:
        if self._cache is None:
            return self._records[index]
        return self._cache.record(index, self._records)
