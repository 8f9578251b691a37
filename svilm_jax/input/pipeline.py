"""Training input pipeline: examples of a prepared dataset, or of a mixture, in the order of a resumable stream.

This module checks that the options are consistent; records that cannot be used are counted, logged and limited.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence

from svilm_jax.config import ConfigError, InputConfig, MixtureEntry, Task, TextConfig, VideoConfig
from svilm_jax.input import labels
from svilm_jax.input.batch_stream import Batch, InputError, ReadOptions, ShardOptions, Stream, shuffled
from svilm_jax.input.example import ClipLoader
from svilm_jax.input.mixture import MixtureLoader, MixtureSampler, source_of
from svilm_jax.input.records import DamagedRecordError, RecordSource, open_records
from svilm_jax.input.sampler import seed_of
from svilm_jax.input.sentences import SentenceFacts, sentence_facts
from svilm_jax.input.shared_memory import check_shared_memory
from svilm_jax.input.text_counts import drawn_texts, texts_per_clip
from svilm_jax.text import prompts
from svilm_jax.text.tokenizers import Tokenizer

__all__ = ["Batch", "InputError", "TrainInput"]

# Number of clips before the failure rate is checked, unless the whole split is smaller.
_FAILURE_SAMPLE = 1000
# Number of records that are read to learn whether a dataset has captions and times.
_SENTENCE_SAMPLE = 50


class TrainInput(Stream):
    """Endless host batches for training.

    Each `next` is a flat dict of this process's rows, b = batch_size / process_count:
      video uint8 [b, T, H, W, 3]; text int32 [b, L]; text_mask bool [b, L]; nouns int32 [b, K, L'], L' being
      `text.phrase_length` or else L; noun_mask bool [b, K]; valid bool [b]; index int64 [b], the record number
      (counted through the datasets of a mixture).
    With a task other than video_text there are no nouns, and target int32 [b] is the class label
    (`labels.UNKNOWN` for a label outside the classes); questions are the text, actions have none. With
    `config.sentences` S there are sentences int32 [b, S, L], sentence_mask bool [b, S] and sentence_spans float32
    [b, S, 2], start and end as fractions of the clip's window, -1 where a sentence has no times.
    Process p has rows p*b to (p+1)*b of the global batch, which is the same for any number of processes.

    A clip that cannot be used becomes a row of zeros with `valid` False, is named once in a warning, and is counted
    in `failures`; from 1,000 clips on (or the whole split, if that is smaller), a fraction of such rows above
    `config.max_failure_fraction` raises `InputError`.
    """

    def __init__(
        self,
        config: InputConfig,
        video: VideoConfig,
        text: TextConfig,
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
        task: Task = "video_text",
        classes: Sequence[str] = (),
        local_processes: int = 1,
    ):
        """Opens the dataset, and starts reading.

        `batch_size` is global; `classes` are the labels of a task; `start_step` is the number of global batches that a
        resumed run has already consumed; `local_processes` of the run share `/dev/shm`, this one included.

        Raises:
          ConfigError: inconsistent values.
          DatasetError: the dataset cannot be read.
        """
        if config.cache_bytes and config.workers:
            raise ConfigError(
                f"input.cache_bytes={config.cache_bytes} with input.workers={config.workers}: worker processes would "
                "each keep a cache of their own; set workers=0 (threads share one) or cache_bytes=0"
            )
        rows = batch_size // process_count
        check_shared_memory(video, rows, config.workers, config.prefetch, local_processes)
        labels.check_task(task, classes)
        if config.text == "sentences" and not config.num_sentences:
            raise ConfigError("config.input.text='sentences': say how many a video: config.input.num_sentences")
        self._config, self._task = config, task
        self._delivered = self._failed_rows = 0
        self._parts = _open_parts(config)
        self._mixture = _mixed(self._parts, config.shuffle_block, seed)
        stored = sum(part.records.num_bytes for part in self._parts)
        loaders = []
        for part in self._parts:
            prompts.check_prompts(part.config.prompts)
            # The cache is divided by size, so that the same fraction of every dataset fits.
            own = dataclasses.replace(part.config, cache_bytes=config.cache_bytes * part.records.num_bytes // stored)
            loaders.append(ClipLoader(part.records, own, video, text, tokenizer, part.seed(seed), classes, task))
        self._load = MixtureLoader(loaders, self._mixture.offsets)
        super().__init__(
            self._load,
            self._mixture,
            self._parts[0].records.identity if not config.mixture else _identity(self._parts),
            ShardOptions(batch_size, seed, start_step, process_index, process_count),
            ReadOptions(config.threads, config.prefetch, config.workers),
        )

    def sentence_facts(self) -> SentenceFacts:
        """Counts what a sample of the records, evenly spaced over each dataset, offers for alignment."""
        stride = max(1, self.num_records // _SENTENCE_SAMPLE)
        sample = (part.records[n] for part in self._parts for n in range(0, len(part.records), stride))
        return sentence_facts(sample, self._config)

    def scalars(self, step: int) -> dict[str, float]:
        """Returns the share of each dataset of a mixture in the first `step` global batches."""
        rows = step * self._share.batch_size
        read = self._mixture.rows_before(rows)
        return {f"mixture/{p.name}": n / max(rows, 1) for p, n in zip(self._parts, read, strict=True) if p.name}

    def __next__(self) -> Batch:
        batch = super().__next__()
        self._count(batch)
        return batch

    @property
    def texts_per_clip(self) -> float:
        """Mean number of captions or questions per record; 1 where a row shows all that the record has."""
        texts = 0.0
        for part in self._parts:
            kind = drawn_texts(part.config, self._task)
            texts += len(part.records) * (1.0 if kind is None else texts_per_clip(part.records, kind))
        return texts / self.num_records

    def _count(self, batch: Batch) -> None:
        # From `valid`, which crosses process borders; the reason is found by a second attempt, here.
        self._delivered += len(batch["valid"])
        for index in batch["index"][~batch["valid"]].tolist():
            self._failed_rows += 1
            source = source_of(index, self._mixture.offsets)
            part, number = self._parts[source], index - self._mixture.offsets[source]
            try:
                record = part.records[number]
            except DamagedRecordError as error:
                name, reason = part.named(f"record {number}"), str(error)
            else:
                name = part.named(record.id)
                reason = "" if name in self.failures else self._load.failure(index, record) or "could not be used"
            if name not in self.failures:
                self.failures[name] = part.named(reason)
                split = part.config.split
                logging.warning("record %d of split %r is left out: %s", number, split, self.failures[name])
        allowed = self._config.max_failure_fraction
        if self._delivered >= min(_FAILURE_SAMPLE, self.num_records) and self._failed_rows > allowed * self._delivered:
            examples = "; ".join(list(self.failures.values())[:3])
            raise InputError(
                f"{self._failed_rows} of {self._delivered} clips could not be used, more than "
                f"input.max_failure_fraction={allowed}: {examples}; repair the dataset or raise the share"
            )


@dataclasses.dataclass(frozen=True)
class _Part:
    """One dataset of the input: its name in the mixture ("" without one), its options and its records."""

    name: str
    weight: float
    config: InputConfig
    records: RecordSource

    def seed(self, seed: int) -> int:
        """Returns the seed of its draws, which does not depend on the other datasets of a mixture."""
        return seed_of(seed, self.name) if self.name else seed

    def named(self, text: str) -> str:
        return f"{self.name}: {text}" if self.name else text


def _open_parts(config: InputConfig) -> list[_Part]:
    """Opens the datasets of an input.

    Raises:
      DatasetError: one of them cannot be read.
      InputError: one of them is empty.
    """
    given = config.mixture or {"": MixtureEntry(config.dataset, config.split)}
    parts = []
    for name, entry in given.items():
        records = open_records(entry.dataset, entry.split)
        if not len(records):
            raise InputError(f"{entry.dataset}: split {entry.split!r} holds no records")
        own = dataclasses.replace(
            config,
            dataset=entry.dataset,
            split=entry.split,
            text=entry.text or config.text,
            prompts=entry.prompts or config.prompts,
        )
        parts.append(_Part(name, entry.weight, own, records))
    return parts


def _mixed(parts: Sequence[_Part], block: int, seed: int) -> MixtureSampler:
    """Returns the order of the datasets; that of a single one is its own."""
    orders = []
    for part in parts:
        try:
            orders.append(shuffled(len(part.records), block, part.seed(seed)))
        except ConfigError as error:
            raise ConfigError(part.named(str(error))) from error
    try:
        return MixtureSampler(tuple(orders), tuple(part.weight for part in parts), seed)
    except ValueError as error:
        raise ConfigError(f"config.input.mixture: {error}") from error


def _identity(parts: Sequence[_Part]) -> str:
    """Returns 16 hex digits that change with the datasets, their names, weights and texts."""
    facts = [[part.name, part.weight, part.config.text, part.config.prompts, part.records.identity] for part in parts]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
