"""Tokenizers: WordPiece and SentencePiece vocabularies behind one interface."""

import abc
import hashlib
import importlib.resources
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from svilm_jax.config import nearest
from svilm_jax.errors import UserError
from svilm_jax.filesystem import json_reader
from svilm_jax.filesystem.file_signatures import describe_placeholder
from svilm_jax.filesystem.unicode_repair import repaired

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Files that `Tokenizer.save` writes and `load_tokenizer` looks for in a folder, in this order.
_FILE_NAMES = ("vocab.txt", "tokenizer.json", "tokenizer.model")
_SPACE = "\u2581"  # what SentencePiece writes for the space before a word
_EXPECTED = "a vocab.txt or tokenizer.json (WordPiece), a *.model (SentencePiece), 'dataset' or 'builtin:moving_shapes'"


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


class WordPieceTokenizer(Tokenizer):
    """BERT's WordPiece: greedy longest match inside words split at spaces and punctuation."""

    kind = "wordpiece"

    def __init__(self, name: str, content: bytes, lowercase: bool = True, origin: str = ""):
        """`content` of a vocab.txt or tokenizer.json, as named by `name`; `origin` names it in errors.

        A tokenizer.json specifies its own text normalization, which `lowercase` does not change.
        """
        origin = origin or name
        self._file = (name, content)
        self.lowercase = lowercase
        _check_kind(content, origin)
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
        # One by one and not encode_batch: its thread pool does not survive the fork of a decoding worker.
        return list(self._tokenizer.encode(repaired(text)[0], add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        special = {self.pad_id, self.first_id, self.end_id}
        return str(self._tokenizer.decode([int(i) for i in ids if int(i) not in special]))

    def files(self) -> dict[str, bytes]:
        name, content = self._file
        return {name: content}

    def __reduce__(self) -> tuple[Any, ...]:
        return WordPieceTokenizer, (*self._file, self.lowercase)


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model.

    Such models differ in their special tokens. The rule here: padding, first and end token are the model's own `pad`,
    `bos` and `eos` if it defines them; else its pieces `<pad>`, `[CLS]` and `[SEP]` if it has those (ALBERT); else new
    ids after its vocabulary, in the order pad, first, end, and `vocab_size` includes them. A T5 model (pad 0, </s> 1,
    no bos) therefore has a `vocab_size` one above the model's.

    A model with [CLS] and [SEP] is an ALBERT model, trained on normalized text: see `_albert`.
    """

    kind = "sentencepiece"

    def __init__(self, content: bytes, lowercase: bool = True, origin: str = ""):
        origin = origin or "tokenizer.model"
        self._content = content
        self.lowercase = lowercase
        _check_kind(content, origin)
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            loaded = self._processor.LoadFromSerializedProto(content) if content else False
        except RuntimeError as error:
            raise TokenizerError(f"{origin}: not a SentencePiece model ({error})") from error
        if not loaded:
            raise TokenizerError(f"{origin}: not a SentencePiece model; expected the *.model file of its trainer")
        self.unk_id = self._processor.unk_id()
        self.vocab_size = self._processor.vocab_size()
        self.pad_id = self._special(self._processor.pad_id(), "<pad>")
        self.first_id = self._special(self._processor.bos_id(), "[CLS]")
        self.end_id = self._special(self._processor.eos_id(), "[SEP]")
        unknown = self._processor.unk_id()
        self._of_albert = unknown not in (self._processor.piece_to_id(piece) for piece in ("[CLS]", "[SEP]"))

    def _special(self, number: int, piece: str) -> int:
        if number >= 0:
            return number
        number = self._processor.piece_to_id(piece)
        if number != self.unk_id:
            return number
        self.vocab_size += 1
        return self.vocab_size - 1

    def pieces(self, text: str) -> list[int]:
        text = repaired(text)[0]
        if self._of_albert:
            return self._albert(text)
        return list(self._processor.encode(text.lower() if self.lowercase else text))

    def _albert(self, text: str) -> list[int]:
        """Tokenizes like ALBERT's own code (google-research/albert, `tokenization.py`).

        Plain quotes, no accents; and a comma after a digit is a separate piece, which the model's own pieces such as
        "9," would hide.
        """
        text = " ".join(text.split()).replace("``", '"').replace("''", '"')
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        pieces: list[str] = []
        for piece in self._processor.encode(text.lower() if self.lowercase else text, out_type=str):
            if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
                pieces.append(piece)
                continue
            number = self._processor.encode(piece[:-1].replace(_SPACE, ""), out_type=str)
            if not piece.startswith(_SPACE) and number[0].startswith(_SPACE):  # encoding alone adds a space before
                number = [number[0][1:], *number[1:]] if len(number[0]) > 1 else number[1:]
            pieces += [*number, ","]
        return [self._processor.piece_to_id(piece) for piece in pieces]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        special = {self.pad_id, self.first_id, self.end_id}
        own = range(self._processor.vocab_size())
        return str(self._processor.decode([int(i) for i in ids if int(i) not in special and int(i) in own]))

    def files(self) -> dict[str, bytes]:
        return {"tokenizer.model": self._content}

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceTokenizer, (self._content, self.lowercase)


def load_tokenizer(path: str | Path, lowercase: bool = True, dataset: str | Path = "") -> Tokenizer:
    """Loads the tokenizer that a config's `tokenizer.path` names.

    Args:
      path: vocab.txt or another *.txt with one token per line, or tokenizer.json (WordPiece); *.model (SentencePiece);
        a folder with one of these; "builtin:NAME" for a vocabulary of this package; "dataset" for the one next to the
        records of `dataset`.
      lowercase: lower-case sentences first; WordPiece drops accents too, as BERT's uncased models do.
      dataset: folder of the prepared dataset; read for path "dataset" only.

    Raises:
      TokenizerError: missing, or neither kind.
    """
    name = str(path)
    if not name:
        raise TokenizerError(f"config.tokenizer.path is not set: give it {_EXPECTED}")
    if name.startswith("builtin:"):
        return _builtin(name.removeprefix("builtin:"), lowercase)
    if name == "dataset":
        return _of_dataset(dataset, lowercase)
    file = Path(path)
    if file.is_dir():
        found = [file / known for known in _FILE_NAMES if (file / known).is_file()]
        if not found:
            raise TokenizerError(f"{file}: holds no vocabulary; expected one of {', '.join(_FILE_NAMES)}")
        file = found[0]
    if not file.is_file():
        raise TokenizerError(f"{file}: no such vocabulary; give config.tokenizer.path {_EXPECTED}")
    content = file.read_bytes()
    if file.suffix == ".model":
        return SentencePieceTokenizer(content, lowercase, str(file))
    if file.suffix in (".txt", ".json"):
        return WordPieceTokenizer(
            f"{'tokenizer' if file.suffix == '.json' else 'vocab'}{file.suffix}", content, lowercase, str(file)
        )
    raise TokenizerError(f"{file}: unknown kind of vocabulary; expected *.txt or *.json (WordPiece) or *.model")


def tokenizer_from_files(files: Mapping[str, bytes], lowercase: bool = True) -> Tokenizer:
    """Builds the tokenizer with the given `files()`, as stored in a checkpoint.

    Raises:
      TokenizerError: not such files.
    """
    if len(files) != 1 or not set(files) <= set(_FILE_NAMES):
        raise TokenizerError(f"a tokenizer of files {sorted(files)}: expected one of {', '.join(_FILE_NAMES)}")
    ((name, content),) = files.items()
    if name.endswith(".model"):
        return SentencePieceTokenizer(content, lowercase)
    return WordPieceTokenizer(name, content, lowercase)


def _builtin(name: str, lowercase: bool) -> Tokenizer:
    folder = importlib.resources.files("svilm_jax.text") / "vocabularies"
    known = sorted(f.name.removesuffix(".txt") for f in folder.iterdir() if f.name.endswith(".txt"))
    if name not in known:
        raise TokenizerError(f"builtin:{name}: no such vocabulary; known: {', '.join(known)}{nearest(name, known)}")
    return WordPieceTokenizer("vocab.txt", (folder / f"{name}.txt").read_bytes(), lowercase, f"builtin:{name}")


def _of_dataset(dataset: str | Path, lowercase: bool) -> Tokenizer:
    if not str(dataset):
        raise TokenizerError("tokenizer.path='dataset' needs input.dataset: the folder that `svilm prepare` wrote")
    folder = Path(dataset)
    # `svilm prepare` puts the vocabulary beside the version folder; accept that folder itself too.
    for candidate in (folder, folder.parent):
        if (candidate / "vocab.txt").is_file() and (candidate == folder or (folder / "dataset_info.json").is_file()):
            return load_tokenizer(candidate / "vocab.txt", lowercase)
    inside = sorted(folder.glob("*/vocab.txt"))
    if len(inside) == 1:
        return load_tokenizer(inside[0], lowercase)
    raise TokenizerError(
        f"{folder}: tokenizer.path='dataset', but there is no vocab.txt beside the records; prepare the dataset again "
        "or give tokenizer.path a file"
    )


def _check_kind(content: bytes, origin: str) -> None:
    """Raises TokenizerError where the first bytes are those of another kind of file, such as an HTML page."""
    found = describe_placeholder(content)
    if found is not None and "JSON" not in found and not found.startswith("a text file"):
        raise TokenizerError(f"{origin}: expected a vocabulary, found {found}")


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
    except Exception as error:  # the library raises bare Exception for whatever it cannot parse
        raise TokenizerError(f"{origin}: cannot be read as tokenizer.json ({error})") from error
