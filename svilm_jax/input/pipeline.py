"""Training input pipeline: examples of a prepared dataset in the order of a resumable stream.

This module checks that the options are consistent; records that cannot be used are counted, logged and limited.
"""

import logging
from collections.abc import Sequence

from svilm_jax.config import ConfigError, InputConfig, Task, TextConfig, VideoConfig
from svilm_jax.input import labels
from svilm_jax.input.batch_stream import Batch, InputError, ReadOptions, ShardOptions, Stream
from svilm_jax.input.example import ClipLoader
from svilm_jax.input.records import DamagedRecordError, open_records
from svilm_jax.input.shared_memory import check_shared_memory
from svilm_jax.text import prompts
from svilm_jax.text.tokenizers import Tokenizer

__all__ = ["Batch", "InputError", "TrainInput"]

# Number of clips before the failure rate is checked, unless the whole split is smaller.
_FAILURE_SAMPLE = 1000


class TrainInput(Stream):
    """Endless host batches for training.

    Each `next` is a flat dict of this process's rows, b = batch_size / process_count:
      video uint8 [b, T, H, W, 3]; text int32 [b, L]; text_mask bool [b, L]; nouns int32 [b, K, L'], L' being
      `text.phrase_length` or else L; noun_mask bool [b, K]; valid bool [b]; index int64 [b], the record number.
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
        prompts.check_prompts(config.prompts)
        labels.check_task(task, classes)
        if config.text == "sentences" and not config.num_sentences:
            raise ConfigError("config.input.text='sentences': say how many a video: config.input.num_sentences")
        self._records = open_records(config.dataset, config.split)
        if not len(self._records):
            raise InputError(f"{config.dataset}: split {config.split!r} holds no records")
        self._config = config
        self._delivered = self._failed_rows = 0
        self._load = ClipLoader(self._records, config, video, text, tokenizer, seed, classes, task)
        super().__init__(
            self._load,
            len(self._records),
            self._records.identity,
            ShardOptions(batch_size, seed, start_step, process_index, process_count),
            ReadOptions(config.threads, config.prefetch, config.workers),
            config.shuffle_block,
        )

    def __next__(self) -> Batch:
        batch = super().__next__()
        self._count(batch)
        return batch

    def _count(self, batch: Batch) -> None:
        # From `valid`, which crosses process borders; the reason is found by a second attempt, here.
        self._delivered += len(batch["valid"])
        for index in batch["index"][~batch["valid"]].tolist():
            self._failed_rows += 1
            try:
                record = self._records[index]
            except DamagedRecordError as error:
                name, reason = f"record {index}", str(error)
            else:
                name = record.id
                reason = "" if name in self.failures else self._load.failure(record) or "could not be used"
            if name not in self.failures:
                self.failures[name] = reason
                logging.warning("record %d of split %r is left out: %s", index, self._config.split, reason)
        allowed = self._config.max_failure_fraction
        if self._delivered >= min(_FAILURE_SAMPLE, self.num_records) and self._failed_rows > allowed * self._delivered:
            examples = "; ".join(list(self.failures.values())[:3])
            raise InputError(
                f"{self._failed_rows} of {self._delivered} clips could not be used, more than "
                f"input.max_failure_fraction={allowed}: {examples}; repair the dataset or raise the share"
            )
