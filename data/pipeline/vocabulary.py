"""Vocabulary of a prepared dataset: supplied by the user or trained, and its coverage of the captions."""

import collections
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_checks import CheckedSplit

from svilm_jax.text.review import is_unknown, split_words
from svilm_jax.text.tokenizers import Tokenizer, TokenizerError, load_tokenizer
from svilm_jax.text.vocabulary_training import train_wordpiece

MAX_CAPTIONS = 10_000  # captions tested for coverage: enough for a fraction, and a matter of seconds
_MAX_WORDS = 5  # out-of-vocabulary words in a note


def copy_vocabulary(source: Path, path: Path) -> str:
    """Copies a user-supplied vocab.txt to `path`.

    Returns:
      A description of its origin, for the summary.

    Raises:
      PreparationError: not a WordPiece vocabulary.
    """
    try:
        tokenizer = load_tokenizer(source)
    except TokenizerError as error:
        raise PreparationError(f"--vocab: {error}") from error
    if tokenizer.kind != "wordpiece" or source.suffix != ".txt":
        raise PreparationError(
            f"--vocab {source}: expected a vocab.txt (WordPiece, one token per line); "
            "set other kinds in the config, as config.tokenizer.path"
        )
    shutil.copyfile(source, path)
    return f"{tokenizer.vocab_size} tokens, given by --vocab"


def train_vocabulary(checked: Mapping[str, CheckedSplit], size: int, path: Path) -> str:
    """Trains a WordPiece vocabulary on training captions, or on training questions if there are no captions.

    Args:
      checked: checked splits by name. Split `train` is used; in a dataset without it, all splits whose name ends in it.
      size: maximum number of tokens.
      path: file to write; not written if there is no training text.

    Returns:
      A description of its origin, for the summary.

    Raises:
      PreparationError: the size is too small.
    """
    count = 0

    def texts(kind: str) -> Iterator[str]:
        nonlocal count
        for split in ("train",) if "train" in checked else checked:
            if split.endswith("train"):
                for entry, _, _ in checked[split]:
                    record = entry.record
                    batch = [caption.text for caption in record.captions]
                    if kind == "questions":
                        batch = [question.question for question in record.questions]
                    count += len(batch)
                    yield from batch

    kind = next((kind for kind in ("captions", "questions") if any(True for _ in texts(kind))), "")
    if not kind:
        return "none: no training captions or questions to train one on"
    count = 0
    try:
        tokens = train_wordpiece(texts(kind), size, path)
    except TokenizerError as error:
        raise PreparationError(f"--vocab-size {size}: {error}") from error
    return f"{tokens} tokens, trained on {count} training {kind}"


def coverage_note(tokenizer: Tokenizer, checked: Mapping[str, CheckedSplit]) -> str:
    """Describes the words of the captions that a vocabulary lacks.

    Args:
      tokenizer: tokenizer of the vocabulary.
      checked: checked splits, whose first `MAX_CAPTIONS` captions are tested.

    Returns:
      The number of captions with an out-of-vocabulary word and the most frequent of these words; "" if there is none.
    """
    texts = (c.text for split in checked.values() for entry, _, _ in split for c in entry.record.captions)
    known: dict[str, bool] = {}
    tested = lacking = 0
    frequent: collections.Counter[str] = collections.Counter()
    for text in itertools.islice(texts, MAX_CAPTIONS):
        tested += 1
        words = split_words(text)
        known.update({word: not is_unknown(tokenizer, word) for word in words if word not in known})
        missing = [word for word in words if not known[word]]
        lacking += bool(missing)
        frequent.update(missing)
    if not lacking:
        return ""
    examples = ", ".join(repr(word) for word, _ in frequent.most_common(_MAX_WORDS))
    return f"; {lacking:,} of {tested:,} captions have an out-of-vocabulary word (most often {examples})"
