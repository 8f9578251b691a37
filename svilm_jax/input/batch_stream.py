"""Endless batch stream over a function of (epoch, record number), resumable exactly.

Grain reads positions of the stream; the content of a position is a pure function of the seed and one integer, the
number of global batches before it (see `order`). It does not depend on threads, workers, processes or earlier reads.
"""

import contextlib
import dataclasses
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import grain
import numpy as np
from absl import flags

from svilm_jax.config import ConfigError
from svilm_jax.errors import UserError
from svilm_jax.input.sampler import BlockShuffleSampler
from svilm_jax.input.worker_processes import deaf_children, initialize_worker

Batch = dict[str, np.ndarray]


class InputError(UserError, RuntimeError):
    """An input that training cannot continue with; the message names the cause and the remedy."""


@dataclasses.dataclass(frozen=True)
class ShardOptions:
    """The part of the batches that a process gets.

    Attributes:
      batch_size: rows of a global batch.
      seed: random seed of the order.
      start_step: number of global batches that a resumed run has already consumed.
      process_index, process_count: process p has rows p*b to (p+1)*b of b * process_count.
    """

    batch_size: int
    seed: int = 0
    start_step: int = 0
    process_index: int = 0
    process_count: int = 1


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Read-ahead options: threads per process, batches held ready, decoding processes (0: none)."""

    threads: int = 2
    prefetch: int = 2
    workers: int = 0


class Stream(Iterator[Batch]):
    """Endless host batches.

    Attributes:
      failures: id of a record that could not be used -> reason.
    """

    def __init__(
        self,
        load: Callable[[int, int], Batch],
        records: int,
        identity: str,
        share: ShardOptions,
        reading: ReadOptions,
        block: int = 1,
    ):
        """Starts reading.

        Args:
          load: (epoch, record number) -> its row; sent to worker processes unchanged.
          records: number of records.
          identity: fingerprint of the data, checked by a resumed run.
          share: rows of each batch that this process gets.
          reading: read-ahead options.
          block: consecutive records that stay together in a batch.

        Raises:
          ConfigError: inconsistent values.
        """
        if share.batch_size % share.process_count:
            raise ConfigError(
                f"train.batch_size={share.batch_size}: expected a multiple of {share.process_count} processes"
            )
        if share.batch_size % block:
            raise ConfigError(
                f"input.shuffle_block={block}: expected a divisor of train.batch_size={share.batch_size}, "
                "since a block stays together in one batch"
            )
        try:
            self._order = BlockShuffleSampler(records, block, share.seed)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self._share, self._identity, self._step = share, identity, share.start_step
        self.failures: dict[str, str] = {}
        rows = share.batch_size // share.process_count
        positions = _Positions(share.start_step, share.batch_size, share.process_index * rows, rows)
        batches = (
            grain.MapDataset.source(positions)
            .map(_LoadPosition(self._order, load))
            .batch(rows, drop_remainder=True, batch_fn=_stack)
            # Threads and workers process whole batches: with single clips, a batch would depend on the number
            # of workers. These have a buffer of their own, below.
            .to_iter_dataset(
                grain.ReadOptions(
                    num_threads=reading.threads,
                    prefetch_buffer_size=reading.threads if reading.workers else reading.prefetch,
                )
            )
        )
        if reading.workers:
            if not flags.FLAGS.is_parsed():  # Grain reads a flag here; for library use, its default is right
                flags.FLAGS.mark_as_parsed()
            batches = batches.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=reading.workers, per_worker_buffer_size=reading.prefetch),
                worker_init_fn=initialize_worker,
            )
        # In a list that `_close` empties, at interpreter exit at the latest: the shared memory of worker processes must
        # be released while they can still be reached.
        self._running: list[Any] = [iter(batches)]
        self._starts_workers = reading.workers > 0
        self._finalizer = weakref.finalize(self, _close, self._running)

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Batch:
        if not self._running:
            raise InputError("this input is closed")
        try:
            with deaf_children() if self._starts_workers else contextlib.nullcontext():  # at the first batch
                batch = next(self._running[0])
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):  # Grain's message for a dead worker
                raise
            raise InputError(
                f"a decoding process died ({error}) before batch {self._step}; the system kills processes that use "
                "too much memory: lower config.input.workers or config.input.prefetch. The same command resumes from "
                "the last checkpoint"
            ) from error
        self._starts_workers = False
        self._step += 1
        return batch

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops threads and workers; may be called again."""
        self._finalizer()

    @property
    def num_records(self) -> int:
        """Number of records of the split."""
        return self._order.records

    @property
    def steps_per_epoch(self) -> float:
        """Number of global batches per epoch (of whole blocks); rarely an integer."""
        return self._order.epoch_length / self._share.batch_size

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values: the position, and the options that determine the order."""
        return {"step": self._step, **self._meaning()}

    def check_state(self, saved: Mapping[str, Any]) -> None:
        """Raises InputError if a run resumed from `saved` would not continue in the same order."""
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
            "dataset": self._identity,
            "seed": self._share.seed,
            "batch_size": self._share.batch_size,
            "shuffle_block": self._order.block,
        }


class _Positions(Sequence[int]):
    """Positions of one process's rows in the global stream, from a step on; endless in practice."""

    def __init__(self, start_step: int, batch_size: int, first_row: int, rows: int):
        self._start, self._batch, self._first, self._rows = start_step, batch_size, first_row, rows

    def __len__(self) -> int:
        return 2**48 // self._rows * self._rows

    def __getitem__(self, item: SupportsIndex) -> int:  # type: ignore[override]
        step, row = divmod(item.__index__(), self._rows)
        return (self._start + step) * self._batch + self._first + row


class _LoadPosition(grain.transforms.Map):
    """Maps a position of the stream to its row."""

    def __init__(self, order: BlockShuffleSampler, load: Callable[[int, int], Batch]):
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
