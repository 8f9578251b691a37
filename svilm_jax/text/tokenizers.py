"""Loading of WordPiece and SentencePiece tokenizers from files, folders, datasets and this package."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

from svilm_jax.config import nearest
from svilm_jax.text.sentencepiece_tokenizer import SentencePieceTokenizer
from svilm_jax.text.tokenizer_interface import SPECIAL_TOKENS, Tokenizer, TokenizerError
from svilm_jax.text.wordpiece_tokenizer import WordPieceTokenizer

__all__ = [
    "SPECIAL_TOKENS",
    "SentencePieceTokenizer",
    "Tokenizer",
    "TokenizerError",
    "WordPieceTokenizer",
    "load_tokenizer",
    "tokenizer_from_files",
]

# Files that `Tokenizer.save` writes and `load_tokenizer` looks for in a folder, in this order.
_FILE_NAMES = ("vocab.txt", "tokenizer.json", "tokenizer.model")
_EXPECTED = "a vocab.txt or tokenizer.json (WordPiece), a *.model (SentencePiece), 'dataset' or 'builtin:moving_shapes'"


def load_tokenizer(path: str | Path, lowercase: bool = True, dataset: str | Path = "") -> Tokenizer:
    """Loads the tokenizer that a config's `tokenizer.path` names.

    Args:
      path: vocab.txt or another *.txt with one token per line, or tokenizer.json (WordPiece); *.model (SentencePiece);
        a folder with one of these; "builtin:NAME" for a vocabulary of this package; "dataset" for the one next to the
        records of `dataset`.
      lowercase: lower-case sentences first; WordPiece also removes accents, as BERT's uncased models do.
      dataset: folder of the prepared dataset; read for path "dataset" only.

    Raises:
      TokenizerError: no such file, or neither a WordPiece nor a SentencePiece vocabulary.
    """
    name = str(path)
    if not name:
        raise TokenizerError(f"config.tokenizer.path is not set: expected {_EXPECTED}")
    if name.startswith("builtin:"):
        return _builtin(name.removeprefix("builtin:"), lowercase)
    if name == "dataset":
        return _dataset_tokenizer(dataset, lowercase)
    file = Path(path)
    if file.is_dir():
        present = [file / known for known in _FILE_NAMES if (file / known).is_file()]
        if not present:
            raise TokenizerError(f"{file}: no vocabulary in this folder; expected one of {', '.join(_FILE_NAMES)}")
        file = present[0]
    if not file.is_file():
        raise TokenizerError(f"{file}: no such vocabulary; config.tokenizer.path: expected {_EXPECTED}")
    content = file.read_bytes()
    if file.suffix == ".model":
        return SentencePieceTokenizer(content, lowercase, str(file))
    if file.suffix in (".txt", ".json"):
        return WordPieceTokenizer(
            f"{'tokenizer' if file.suffix == '.json' else 'vocab'}{file.suffix}", content, lowercase, str(file)
        )
    raise TokenizerError(f"{file}: unknown type of vocabulary; expected *.txt or *.json (WordPiece) or *.model")


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


def _dataset_tokenizer(dataset: str | Path, lowercase: bool) -> Tokenizer:
    if not str(dataset):
        raise TokenizerError("tokenizer.path='dataset' needs input.dataset: the folder that `svilm prepare` wrote")
    folder = Path(dataset)
    # `svilm prepare` writes the vocabulary next to the version folder, which is accepted as a path as well.
    for candidate in (folder, folder.parent):
        if (candidate / "vocab.txt").is_file() and (candidate == folder or (folder / "dataset_info.json").is_file()):
            return load_tokenizer(candidate / "vocab.txt", lowercase)
    inside = sorted(folder.glob("*/vocab.txt"))
    if len(inside) == 1:
        return load_tokenizer(inside[0], lowercase)
    raise TokenizerError(
        f"{folder}: tokenizer.path='dataset', but there is no vocab.txt next to the records; prepare the dataset again "
        "or set tokenizer.path to a file"
    )
