"""Review of a text as a model reads it: out-of-vocabulary words, truncated tokens, repaired characters."""

import dataclasses

from tokenizers import pre_tokenizers

from svilm_jax.input.text_repair import repaired
from svilm_jax.input.tokenization import Tokenizer

_LETTERS_END = 0x590  # of Latin, Greek, Cyrillic and Armenian in Unicode
_SHOWN = 5  # unknown words that a note lists
_SHOWN_CHARACTERS = 30  # of each


@dataclasses.dataclass(frozen=True)
class TextReview:
    """What of a text reaches the model.

    Attributes:
      words: number of different words and punctuation marks.
      unknown: those of them that the vocabulary does not know (`is_unknown`), in order of first mention.
      pieces: tokens of the text, without those that begin and end every text.
      read: of them, those that fit; the others are cut off at the end.
      repaired: halves of characters (of an emoji, say) that were dropped.
    """

    words: int
    unknown: tuple[str, ...]
    pieces: int
    read: int
    repaired: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before trusting an answer, one sentence each; () where all was understood."""
        notes = []
        if self.repaired:
            notes.append(f"{self.repaired} broken characters were left out")
        if not self.pieces:
            notes.append("the text holds no word: the answer means nothing")
        elif len(self.unknown) == self.words:
            notes.append(f"no word is in the model's vocabulary ({self._listed}): the answer means nothing")
        elif self.unknown:
            notes.append(f"not in the model's vocabulary: {self._listed}")
        if self.read < self.pieces:
            notes.append(f"the text has {self.pieces:,} word pieces, of which the model reads the first {self.read:,}")
        return tuple(notes)

    @property
    def _listed(self) -> str:
        shown = ", ".join(
            repr(word if len(word) <= _SHOWN_CHARACTERS else f"{word[:_SHOWN_CHARACTERS]}...")
            for word in self.unknown[:_SHOWN]
        )
        return shown + (f" and {len(self.unknown) - _SHOWN:,} more" if len(self.unknown) > _SHOWN else "")


def review_text(tokenizer: Tokenizer, text: str, length: int) -> TextReview:
    """Reviews one text.

    Args:
      length: tokens that the model takes, those that begin and end the text included.
    """
    text, halves = repaired(text)
    words = split_words(text)
    unknown = tuple(word for word in words if is_unknown(tokenizer, word))
    pieces = len(tokenizer.pieces(text))
    return TextReview(len(words), unknown, pieces, min(pieces, length - 2), halves)


def is_unknown(tokenizer: Tokenizer, word: str) -> bool:
    """Whether a vocabulary lacks a part of a word, or can only spell it, in pieces of less than two letters on average.

    Vocabularies hold every letter as a piece, so that hardly any word lacks a part; but what a model learned of the
    letters x, y and z says nothing of "xyzzy". Of scripts whose characters are words or syllables, one is enough.
    """
    pieces = tokenizer.pieces(word)
    if tokenizer.unk_id in pieces:
        return True
    spelled = word.isalpha() and ord(max(word)) < _LETTERS_END
    return spelled and len(word) > 1 and 2 * len(pieces) > len(word)


def split_words(text: str) -> list[str]:
    """The different words and punctuation marks of a text, in order of first mention, split as BERT splits."""
    found = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(repaired(text)[0])
    return list(dict.fromkeys(word for word, _ in found))
