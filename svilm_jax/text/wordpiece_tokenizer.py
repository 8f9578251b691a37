"""WordPiece tokenizer, as used by BERT, from a vocab.txt or a tokenizer.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from svilm_jax.filesystem import json_reader
from svilm_jax.filesystem.unicode_repair import repaired
from svilm_jax.text.tokenizer_interface import SPECIAL_TOKENS, Tokenizer, TokenizerError, check_content


class WordPieceTokenizer(Tokenizer):
    """BERT's WordPiece: greedy longest match inside words split at spaces and punctuation."""

    kind = "wordpiece"

    def __init__(self, name: str, content: bytes, lowercase: bool = True, origin: str = ""):
        """Builds the tokenizer.

        Args:
          name: file name, vocab.txt or tokenizer.json, which determines the format.
          content: content of the file.
          lowercase: whether to lower-case sentences and to remove accents first; ignored for a tokenizer.json, which
            specifies its own text normalization.
          origin: name of the file in errors.

        Raises:
          TokenizerError: the content is invalid or lacks a special token.
        """
        origin = origin or name
        self._file = (name, content)
        self.lowercase = lowercase
        check_content(content, origin)
        text = _utf8(content, origin)
        self._tokenizer = _from_json(text, origin) if name.endswith(".json") else _from_vocab(text, lowercase, origin)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        known = self._tokenizer.get_vocab(with_added_tokens=True)
        missing = [token for token in SPECIAL_TOKENS[:4] if token not in known]
        if missing:
            raise TokenizerError(
                f"{origin}: lacks {', '.join(missing)}; a WordPiece vocabulary needs {', '.join(SPECIAL_TOKENS[:4])}, "
                "one token per line"
            )
        self.pad_id, self.unk_id, self.first_id, self.end_id = (known[token] for token in SPECIAL_TOKENS[:4])
        self.vocab_size = max(known.values()) + 1

    def pieces(self, text: str) -> list[int]:
        """Returns the ids of one sentence; see `Tokenizer.pieces`."""
        # One by one and not encode_batch: its thread pool does not survive the fork of a decoding worker.
        return list(self._tokenizer.encode(repaired(text)[0], add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the sentence of one row of ids; see `Tokenizer.decode`."""
        special = {self.pad_id, self.first_id, self.end_id}
        return str(self._tokenizer.decode([int(i) for i in ids if int(i) not in special]))

    def files(self) -> dict[str, bytes]:
        """Returns the vocabulary as a file; see `Tokenizer.files`."""
        name, content = self._file
        return {name: content}

    def __reduce__(self) -> tuple[Any, ...]:
        return WordPieceTokenizer, (*self._file, self.lowercase)


def _utf8(content: bytes, origin: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TokenizerError(f"{origin}, line {line}: not UTF-8 text; expected one token per line") from error


def _from_vocab(text: str, lowercase: bool, origin: str) -> tokenizers.Tokenizer:
    vocabulary: dict[str, int] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n")):
        token = line.removesuffix("\r")
        if token in vocabulary:
            raise TokenizerError(f"{origin}, line {number + 1}: {token!r} again, first on line {vocabulary[token] + 1}")
        vocabulary[token] = number
    return _wordpiece(vocabulary, lowercase)


def _wordpiece(vocabulary: dict[str, int], lowercase: bool) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)  # BERT's limit
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _from_json(text: str, origin: str) -> tokenizers.Tokenizer:
    try:
        kind = json_reader.parse(text, origin)["model"]["type"]
    except json_reader.JsonError as error:
        raise TokenizerError(f"{origin}: not a tokenizer.json ({error.reason})") from error
    except (KeyError, TypeError) as error:
        raise TokenizerError(f"{origin}: not a tokenizer.json (no model.type in it)") from error
    if kind != "WordPiece":
        raise TokenizerError(f"{origin}: a {kind} tokenizer; only WordPiece is read from tokenizer.json")
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare exceptions for invalid content
        raise TokenizerError(f"{origin}: cannot be read as tokenizer.json ({error})") from error
