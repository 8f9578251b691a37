"""Noun phrases for the captions of a dataset: extracted once for all splits, then read along with the entries."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from svilm_data.annotations.captions.noun_phrases import CHUNK, PhraseTable, parser_versions, phrase_lists
from svilm_data.annotations.entries import Entry
from svilm_data.pipeline.journal import Journal, texts_key
from svilm_data.pipeline.video_checks import CheckedSplit
from svilm_data.pipeline.workers import Mapper
from tqdm import tqdm

from svilm_jax.input.schema import Caption

Item = tuple[Entry, Path, int]


def extract_phrases(
    checked: Mapping[str, CheckedSplit], journal: Journal, workers: Mapper, table: PhraseTable | None = None
) -> None:
    """Records the phrases of all captions in the journal, except those already in it.

    Args:
      checked: checked splits by name.
      journal: holds known phrases, and receives new ones.
      workers: run the parser.
      table: user-supplied phrases; None: spaCy.

    Raises:
      PreparationError: no parser, or a caption that the table lacks.
    """
    parser, known = table.versions if table else parser_versions(), 0
    pending: collections.deque[tuple[bytes, int]] = collections.deque()
    clips = sum(len(split) for split in checked.values())
    with tqdm(total=clips, desc="noun phrases", unit="clip", disable=None) as bar:

        def unknown() -> Iterator[list[str]]:
            nonlocal known
            for split in checked.values():
                for batch in _batches(split):
                    texts = _texts(batch)
                    source = texts_key(texts, parser)
                    if not texts or journal.phrases(source) is not None:
                        known += len(texts)
                        bar.update(len(batch))
                    else:
                        pending.append((source, len(batch)))
                        yield texts

        results: Iterable[list[list[str]]]
        results = map(table, unknown()) if table else workers.map(phrase_lists, unknown(), task="noun phrases")
        for phrases in results:
            source, size = pending.popleft()
            journal.record_phrases(source, phrases)
            bar.update(size)
    if known:
        tqdm.write(f"noun phrases of {known} captions were extracted before")


def attach_phrases(checked: CheckedSplit, journal: Journal, table: PhraseTable | None = None) -> Iterator[Item]:
    """Yields the usable entries of a split, as `CheckedSplit` does, with the phrases from the journal."""
    parser = table.versions if table else parser_versions()
    for batch in _batches(checked):
        texts = _texts(batch)
        phrases = journal.phrases(texts_key(texts, parser)) if texts else []
        assert phrases is not None, "extract_phrases must run first"
        phrases_of = dict(zip(dict.fromkeys(texts), map(tuple, phrases), strict=True))
        for entry, file, frames in batch:
            captions: tuple[Caption, ...] = tuple(
                dataclasses.replace(caption, phrases=phrases_of[caption.text]) for caption in entry.record.captions
            )
            yield dataclasses.replace(entry, record=dataclasses.replace(entry.record, captions=captions)), file, frames


def _texts(batch: list[Item]) -> list[str]:
    return [caption.text for entry, _, _ in batch for caption in entry.record.captions]


def _batches(checked: CheckedSplit) -> Iterator[list[Item]]:
    """Yields usable entries with at least `CHUNK` captions together."""
    batch: list[Item] = []
    size = 0
    for item in checked:
        batch.append(item)
        size += max(1, len(item[0].record.captions))
        if size >= CHUNK:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
