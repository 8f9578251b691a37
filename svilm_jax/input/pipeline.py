"""How does a prepared dataset become training batches, in an order that a resumed run continues exactly?

Records are read by number, decoded, cropped and tokenised by threads or worker processes of Grain. What a batch holds
is a pure function of the seed and of one integer, the number of global batches before it (see `order`): not of threads,
workers, processes or of what was read before.
"""

import contextlib
import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import grain
import numpy as np
from absl import flags

from svilm_jax.config import ConfigError, InputConfig, TextConfig, VideoConfig
from svilm_jax.input import augmentation, prompting
from svilm_jax.input.clips import FrameCache, decode_clip
from svilm_jax.input.decoding import VideoError
from svilm_jax.input.order import Order, clip_rng
from svilm_jax.input.records import RecordSource, open_records
from svilm_jax.input.schema import Record
from svilm_jax.input.tokenization import Tokenizer

Batch = dict[str, np.ndarray]

# Clips before the share of failures says anything, unless the whole split is smaller.
_FAILURE_SAMPLE = 1000


class InputError(RuntimeError):
    """Training cannot go on with this input; the message says what was seen and what to do."""


class TrainInput(Iterator[Batch]):
    """Host batches for training, without end.

    Each `next` is a flat dict of this process's rows, b = batch_size / process_count:
      video uint8 [b, T, H, W, 3]; text int32 [b, L]; text_mask bool [b, L]; nouns int32 [b, K, L'], L' being
      `text.noun_length` or else L; noun_mask bool [b, K]; valid bool [b]; index int64 [b], the record's number.
    Process p has rows p*b to (p+1)*b of the global batch, which is the same for any number of processes.

    A clip that cannot be used comes as a row of zeros with `valid` False, is named once in a warning, and is counted
    in `failures`; from 1,000 clips on (or the whole split, where that is smaller), a share of such rows above
    `config.max_failure_share` raises `InputError`.
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
    ):
        """`batch_size` is global; `start_step` is how many global batches a resumed run has already seen.

        Raises:
          ConfigError: values that do not fit each other.
          DatasetError: the dataset cannot be read.
        """
        if batch_size % process_count:
            raise ConfigError(f"train.batch_size={batch_size}: expected a multiple of {process_count} processes")
        if batch_size % config.shuffle_block:
            raise ConfigError(
                f"input.shuffle_block={config.shuffle_block}: expected a divisor of train.batch_size={batch_size}, "
                "since a block stays together in one batch"
            )
        if config.cache_bytes and config.workers:
            raise ConfigError(
                f"input.cache_bytes={config.cache_bytes} with input.workers={config.workers}: worker processes would "
                "each keep a cache of their own; set workers=0 (threads share one) or cache_bytes=0"
            )
        if config.nouns < 1 or config.threads < 1:
            raise ConfigError(f"input: expected nouns and threads >= 1, got {config.nouns} and {config.threads}")
        prompting.check_prompts(config.prompts)
        self._records = open_records(config.dataset, config.split)
        if not len(self._records):
            raise InputError(f"{config.dataset}: split {config.split!r} holds no records")
        try:
            self._order = Order(len(self._records), config.shuffle_block, seed)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self._config, self._batch_size, self._seed, self._step = config, batch_size, seed, start_step
        self._delivered = self._failed_rows = 0
        self.failures: dict[str, str] = {}  # id of a record that could not be used -> why
        self._load = ClipLoader(self._records, config, video, text, tokenizer, seed)
        rows = batch_size // process_count
        positions = _Positions(start_step, batch_size, process_index * rows, rows)
        batches = (
            grain.MapDataset.source(positions)
            .map(_LoadPosition(self._order, self._load))
            .batch(rows, drop_remainder=True, batch_fn=_stack)
            # Whole batches are what threads work on and what workers share out: were it clips, a batch would hold
            # other clips for another number of workers.
            .to_iter_dataset(grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch))
        )
        if config.workers:
            if not flags.FLAGS.is_parsed():  # Grain reads a flag here; its default is what a library user means
                flags.FLAGS.mark_as_parsed()
            batches = batches.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=config.workers, per_worker_buffer_size=config.prefetch)
            )
        # In a list that `_close` empties, also where nobody closes and the interpreter ends: worker processes hold
        # shared memory that has to be given back while there still is somebody to do it.
        self._running: list[Any] = [iter(batches)]
        self._finalizer = weakref.finalize(self, _close, self._running)

    def __iter__(self) -> "TrainInput":
        return self

    def __next__(self) -> Batch:
        if not self._running:
            raise InputError("this input is closed")
        batch = next(self._running[0])
        self._step += 1
        self._count(batch)
        return batch

    def __enter__(self) -> "TrainInput":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops threads and workers; may be called again."""
        self._finalizer()

    @property
    def num_records(self) -> int:
        """Records of the split."""
        return len(self._records)

    @property
    def steps_per_epoch(self) -> float:
        """Global batches in which every record (of a whole block) comes once; rarely a whole number."""
        return self._order.epoch_length / self._batch_size

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the position, and what that position means. JSON types only."""
        return {"step": self._step, **self._meaning()}

    def check_state(self, saved: Mapping[str, Any]) -> None:
        """Raises InputError if a run resumed from `saved` would not go on in the same order."""
        hints = {
            "dataset": "the records are not those of the saved run",
            "seed": "it decides the order",
            "batch_size": "the position counts batches",
            "shuffle_block": "it decides the order",
        }
        for key, value in self._meaning().items():
            if saved.get(key) != value:
                raise InputError(
                    f"cannot resume: {key} was {saved.get(key)!r} and is {value!r} ({hints[key]}); restore it, or "
                    "start in a new workdir"
                )

    def _meaning(self) -> dict[str, Any]:
        return {
            "dataset": self._records.identity,
            "seed": self._seed,
            "batch_size": self._batch_size,
            "shuffle_block": self._config.shuffle_block,
        }

    def _count(self, batch: Batch) -> None:
        # From `valid`, which is what crosses process borders; the reason is found by trying again, here.
        self._delivered += len(batch["valid"])
        for index in batch["index"][~batch["valid"]].tolist():
            self._failed_rows += 1
            record = self._records[index]
            if record.id not in self.failures:
                reason = self._load.failure(record) or "could not be used"
                self.failures[record.id] = reason
                logging.warning("record %d of split %r is left out: %s", index, self._config.split, reason)
        allowed = self._config.max_failure_share
        if self._delivered >= min(_FAILURE_SAMPLE, self.num_records) and self._failed_rows > allowed * self._delivered:
            examples = "; ".join(list(self.failures.values())[:3])
            raise InputError(
                f"{self._failed_rows} of {self._delivered} clips could not be used, more than "
                f"input.max_failure_share={allowed}: {examples}; repair the dataset or raise the share"
            )


class ClipLoader:
    """One record in one epoch to one row of a batch. Sent to worker processes as it is."""

    def __init__(
        self,
        records: RecordSource,
        config: InputConfig,
        video: VideoConfig,
        text: TextConfig,
        tokenizer: Tokenizer,
        seed: int,
    ):
        self._records, self._config, self._video, self._text = records, config, video, text
        self._tokenizer, self._seed = tokenizer, seed
        self._cache = FrameCache(config.cache_bytes) if config.cache_bytes else None

    def __call__(self, epoch: int, index: int) -> Batch:
        """The row of record `index` as epoch `epoch` sees it: `TrainInput`'s arrays without their first axis."""
        config, video, text = self._config, self._video, self._text
        rng = clip_rng(self._seed, epoch, index)
        record = self._record(index)
        caption = prompting.choose_caption(record, rng)
        words = caption.text if caption else ""
        phrases = prompting.choose_phrases(caption.phrases if caption else (), config.nouns, rng)
        noun_length = text.noun_length or text.length
        nouns, noun_mask = prompting.encode_phrases(
            phrases, config.nouns, self._tokenizer, noun_length, config.prompts, rng
        )
        ids = self._tokenizer.encode([words], text.length)[0]  # [L]
        frames = None
        if caption is not None:
            with contextlib.suppress(VideoError):  # `valid` says so; the consumer counts, names and limits it
                frames = self._frames(record, caption.start, caption.end, [words, *phrases], rng, index)
        shape = (video.frames, video.size, video.size, 3)
        return {
            "video": np.zeros(shape, np.uint8) if frames is None else frames,  # [T, H, W, 3]
            "text": ids,
            "text_mask": self._tokenizer.mask(ids),
            "nouns": nouns,
            "noun_mask": noun_mask if frames is not None else np.zeros_like(noun_mask),
            "valid": np.bool_(frames is not None),
            "index": np.int64(index),
        }

    def failure(self, record: Record) -> str | None:
        """Why a record cannot be used, or None where it can."""
        if not record.captions:
            return f"{record.id}: has no caption"
        reason = None
        for caption in record.captions:
            try:
                decode_clip(record, self._video, caption.start, caption.end)
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
    ) -> np.ndarray:
        config, size = self._config, self._video.size
        images = decode_clip(record, self._video, start, end, rng, self._cache, index).images
        height, width = images.shape[1:3]
        if config.random_crop:
            geometry = augmentation.random_resized_crop(height, width, size, config.crop_scale, config.crop_ratio, rng)
        else:
            geometry = augmentation.centre_crop(height, width, size)
        # Drawn last and always: whether a text speaks of sides must not change the other draws.
        flip = rng.random() < 0.5 and config.flip and not augmentation.mentions_side(texts)
        return geometry.flipped(flip).frames(images)  # [T, H, W, 3]

    def _record(self, index: int) -> Record:
        if self._cache is None:
            return self._records[index]
        return self._cache.record(index, self._records)


class _Positions(Sequence[int]):
    """Positions in the global stream of one process's rows, from a step on; as good as endless."""

    def __init__(self, start_step: int, batch_size: int, first_row: int, rows: int):
        self._start, self._batch, self._first, self._rows = start_step, batch_size, first_row, rows

    def __len__(self) -> int:
        return 2**48 // self._rows * self._rows

    def __getitem__(self, item: SupportsIndex) -> int:  # type: ignore[override]
        step, row = divmod(item.__index__(), self._rows)
        return (self._start + step) * self._batch + self._first + row


class _LoadPosition(grain.transforms.Map):
    """A position of the stream to the row that stands there."""

    def __init__(self, order: Order, load: ClipLoader):
        self._order, self._load = order, load

    def map(self, element: int) -> Batch:
        return self._load(*self._order(element))


def _close(running: list[Any]) -> None:
    while running:
        batches = running.pop()
        if hasattr(batches, "close"):  # not every iterator of Grain has something to close
            batches.close()


def _stack(rows: Sequence[Batch]) -> Batch:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}  # [b, ...]
