"""Number of captions or questions of a split, in which an epoch is counted.

A clip shows one of its captions (or questions) per pass over the split. MSVD has about 40 per clip: five passes would
show an eighth of them.
"""

import logging
from pathlib import Path
from typing import Literal

from svilm_jax.config import InputConfig, Task
from svilm_jax.filesystem.json_reader import JsonError, read_document
from svilm_jax.input.records import RecordSource
from svilm_jax.input.schema import SUMMARY

log = logging.getLogger(__name__)

TextKind = Literal["captions", "questions"]


def drawn_texts(config: InputConfig, task: Task) -> TextKind | None:
    """Returns the texts of which a pass over a split draws one per clip; None if it uses everything a clip has."""
    if task == "question_answering":
        return "questions"
    return "captions" if task == "video_text" and config.text == "caption" else None


def texts_per_clip(records: RecordSource, kind: TextKind) -> float:
    """Returns the mean number of texts per record, at least 1.

    `svilm prepare` stores the numbers of every split and view. Datasets of earlier versions lack some of them: their
    records are read.

    Raises:
      DatasetError: a record that has to be read is damaged.
    """
    count = _stored_count(records, kind)
    if count is None:
        log.info("%s/%s: counting %s in %d records", records.name, records.split, kind, len(records))
        count = sum(len(getattr(record, kind)) for record in records)
    return max(count / len(records), 1.0)


def _stored_count(records: RecordSource, kind: TextKind) -> int | None:
    file = next((f for f in (p / SUMMARY for p in (records.folder, records.folder.parent)) if f.is_file()), None)
    counts = {} if file is None else _counts(file, records.split)
    known = counts.get("clips") == len(records) and isinstance(counts.get(kind), int)
    return counts[kind] if known else None


def _counts(file: Path, split: str) -> dict[str, int]:
    """Returns the counts of a split or view in preparation.json; {} if there are none, or the file is damaged."""
    try:
        document = read_document(file)
        tables = (document.get(key, {}) for key in ("splits", "views"))
        return dict(next((table[split] for table in tables if split in table), {}))
    except (JsonError, AttributeError, TypeError, ValueError) as error:
        log.warning("%s: states no counts of %s (%s): counting by reading", file, split, error)
        return {}
