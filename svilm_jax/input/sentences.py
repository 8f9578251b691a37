"""Sentences for multi-level alignment: captions, clauses of a caption, or a question with its answer."""

import dataclasses
import re
from collections.abc import Iterable

from svilm_jax.config import InputConfig
from svilm_jax.input.schema import Caption, Question, Record

# Connectives after which the next event follows in time: a clause on either side describes a part of the clip.
_FOLLOWS = re.compile(r"(?:\s*[.;]\s+|,?\s+(?:and\s+)?(?:then|finally|afterwards|before)\s+|,\s+and\s+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class SentenceFacts:
    """What a sample of a dataset offers for alignment.

    Attributes:
      source: of the sentences, `config.input.sentences`.
      records: number of records in the sample.
      described: those with at least one sentence.
      timed: those with at least one sentence with times.
      in_parts: those with several sentences that follow each other in time.
    """

    source: str
    records: int
    described: int
    timed: int
    in_parts: int


def split_clauses(text: str) -> tuple[str, ...]:
    """Splits a caption into clauses that follow each other in time; the whole caption if there is only one."""
    parts = [part.strip(" .,;") for part in _FOLLOWS.split(text)]
    found = tuple(filter(None, parts))
    return found if len(found) > 1 else (text,)


def clauses_of(caption: Caption) -> tuple[Caption, ...]:
    """Returns the clauses of a caption, without times."""
    return tuple(Caption(part) for part in split_clauses(caption.text))


def answered(question: Question) -> Caption:
    """Returns a question with its answer as one sentence about the whole video; for training only."""
    return Caption(f"{question.question} {question.answer}")


def sentence_facts(records: Iterable[Record], config: InputConfig) -> SentenceFacts:
    """Counts what a sample of records offers with the given source of sentences."""
    count = described = timed = in_parts = 0
    for record in records:
        count += 1
        captions = record.captions
        if config.sentences == "question":
            described += bool(record.questions)
            continue
        described += bool(captions)
        if config.sentences == "clauses":
            in_parts += any(len(split_clauses(caption.text)) > 1 for caption in captions)
        else:
            timed += any(caption.start >= 0 or caption.end >= 0 for caption in captions)
    return SentenceFacts(config.sentences, count, described, timed, in_parts)
