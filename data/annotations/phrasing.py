"""Noun phrases for the captions of a dataset: extracted once for all splits, then read along with the entries."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from svilm_data.annotations.entries import Entry
from svilm_data.annotations.noun_phrases import CHUNK, PhraseTable, parser_versions, phrase_lists
from svilm_data.pipeline.checking import Checked
from svilm_data.pipeline.journal import Journal, source_of_texts
from svilm_data.pipeline.workers import Mapper
from tqdm import tqdm

from svilm_jax.input.schema import Caption

Item = tuple[Entry, Path, int]


def find_phrases(
    checked: Mapping[str, Checked], journal: Journal, workers: Mapper, table: PhraseTable | None = None
) -> None:
    """Records the phrases of all captions in the journal, except those already in it.

    Args:
      table: given phrases; None: spaCy.

    Raises:
      PreparationError: no parser, or a caption that the table lacks.
    """
    parser, known = table.versions if table else parser_versions(), 0
    asked: collections.deque[tuple[bytes, int]] = collections.deque()
    clips = sum(len(split) for split in checked.values())
    with tqdm(total=clips, desc="noun phrases", unit="clip", disable=None) as bar:

        def unknown() -> Iterator[list[str]]:
            nonlocal known
            for split in checked.values():
                for batch in _batches(split):
                    texts = _texts(batch)
                    source = source_of_texts(texts, parser)
                    if not texts or journal.phrases(source) is not None:
                        known += len(texts)
                        bar.update(len(batch))
                    else:
                        asked.append((source, len(batch)))
                        yield texts

        results: Iterable[list[list[str]]]
        results = map(table, unknown()) if table else workers.map(phrase_lists, unknown(), doing="noun phrases")
        for found in results:
            source, size = asked.popleft()
            journal.note_phrases(source, found)
            bar.update(size)
    if known:
        tqdm.write(f"noun phrases of {known} captions were found before")


def with_phrases(checked: Checked, journal: Journal, table: PhraseTable | None = None) -> Iterator[Item]:
    """Yields the usable entries of a split, as `Checked` does, with the phrases from the journal."""
    parser = table.versions if table else parser_versions()
    for batch in _batches(checked):
        texts = _texts(batch)
        found = journal.phrases(source_of_texts(texts, parser)) if texts else []
        assert found is not None, "find_phrases comes first"
        phrases = dict(zip(dict.fromkeys(texts), map(tuple, found), strict=True))
        for entry, file, frames in batch:
            said: tuple[Caption, ...] = tuple(
                dataclasses.replace(caption, phrases=phrases[caption.text]) for caption in entry.record.captions
            )
            yield dataclasses.replace(entry, record=dataclasses.replace(entry.record, captions=said)), file, frames


def _texts(batch: list[Item]) -> list[str]:
    return [caption.text for entry, _, _ in batch for caption in entry.record.captions]


def _batches(checked: Checked) -> Iterator[list[Item]]:
    """Yields usable entries with at least `CHUNK` captions together."""
    batch: list[Item] = []
    held = 0
    for item in checked:
        batch.append(item)
        held += max(1, len(item[0].record.captions))
        if held >= CHUNK:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
