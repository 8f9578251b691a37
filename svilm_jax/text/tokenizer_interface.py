"""Interface of tokenizers: conversion between sentences and padded rows of token ids."""

import abc
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from svilm_jax.errors import UserError
from svilm_jax.filesystem.file_signatures import describe_placeholder

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class TokenizerError(UserError, ValueError):
    """A vocabulary that cannot be used; the message names the file, what was expected and what to do."""


class Tokenizer(abc.ABC):
    """Converts sentences to token ids and back.

    Attributes:
      kind: "wordpiece" or "sentencepiece".
      vocab_size: ids are in [0, vocab_size): the size of the embedding table.
      pad_id: padding id, never used for anything else, so that `ids != pad_id` is the mask.
      first_id: first id of every row ([CLS]; the text tower reads the sentence there).
      end_id: last id of every sentence, also of a truncated one ([SEP]; </s>).
      unk_id: id of unknown tokens.
      lowercase: whether sentences are lower-cased first.
    """

    kind: ClassVar[str]
    vocab_size: int
    pad_id: int
    first_id: int
    end_id: int
    unk_id: int
    lowercase: bool

    @abc.abstractmethod
    def pieces(self, text: str) -> list[int]:
        """Returns the ids of one sentence without special tokens; lone surrogates are replaced by U+FFFD."""

    @abc.abstractmethod
    def files(self) -> dict[str, bytes]:
        """Returns the vocabulary as files, by name; `load_tokenizer` of a folder with them gives this tokenizer."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the sentence of one row of ids, without special tokens."""

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Encodes sentences as rows of ids: first, pieces, end, then padding.

        Returns:
          int32 [N, length]; a longer sentence is truncated and keeps its end token.

        Raises:
          ValueError: `length` below 3, or `texts` is one string.
        """
        if isinstance(texts, str):
            raise ValueError("encode: expected a sequence of sentences, got one string; put it in a list")
        if length < 3:
            raise ValueError(f"encode: length {length} leaves no room for text between first and end token; need 3")
        rows = np.full((len(texts), length), self.pad_id, np.int32)  # [N, length]
        for row, text in zip(rows, texts, strict=True):
            ids = [self.first_id, *self.pieces(text)[: length - 2], self.end_id]
            row[: len(ids)] = ids
        return rows

    def mask(self, ids: np.ndarray) -> np.ndarray:
        """Returns bool of the shape of `ids`, True where `ids` is not padding."""
        return ids != self.pad_id

    def save(self, folder: str | Path) -> None:
        """Writes `files()` into `folder`, which is created if missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            (folder / name).write_bytes(content)

    @property
    def fingerprint(self) -> str:
        """Returns 16 hex digits, equal exactly for tokenizers that encode every sentence identically."""
        digest = hashlib.sha256(f"{self.kind}:{self.lowercase}".encode())
        for name, content in sorted(self.files().items()):
            digest.update(name.encode() + len(content).to_bytes(8, "big") + content)
        return digest.hexdigest()[:16]


def check_content(content: bytes, origin: str) -> None:
    """Raises TokenizerError if the first bytes of a vocabulary are those of another file type, such as HTML."""
    placeholder = describe_placeholder(content)
    if placeholder is not None and "JSON" not in placeholder and not placeholder.startswith("a text file"):
        raise TokenizerError(f"{origin}: expected a vocabulary, found {placeholder}")
