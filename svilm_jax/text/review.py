"""Review of a text as a model reads it: out-of-vocabulary words, truncated tokens, repaired characters."""

import dataclasses

from tokenizers import pre_tokenizers

from svilm_jax.filesystem.unicode_repair import repaired
from svilm_jax.text.tokenizers import Tokenizer

_LETTERS_END = 0x590  # end of Latin, Greek, Cyrillic and Armenian in Unicode
_SHOWN = 5  # unknown words that a note lists
_SHOWN_CHARACTERS = 30  # per named word


@dataclasses.dataclass(frozen=True)
class TextReview:
    """The parts of a text that reach the model.

    Attributes:
      words: number of distinct words and punctuation marks.
      unknown: out-of-vocabulary words (`is_unknown`), in order of first occurrence.
      pieces: number of tokens of the text, without special tokens.
      read: number of those that fit; the others are truncated.
      repaired: number of dropped surrogates (such as half an emoji).
    """

    words: int
    unknown: tuple[str, ...]
    pieces: int
    read: int
    repaired: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, one sentence each; () if everything was understood."""
        notes = []
        if self.repaired:
            notes.append(f"{self.repaired} broken characters were left out")
        if not self.pieces:
            notes.append("the text contains no word: results are meaningless")
        elif len(self.unknown) == self.words:
            notes.append(f"no word is in the model's vocabulary ({self._listed}): results are meaningless")
        elif self.unknown:
            notes.append(f"not in the model's vocabulary: {self._listed}")
        if self.read < self.pieces:
            notes.append(f"the text has {self.pieces:,} word pieces, of which the model reads the first {self.read:,}")
        return tuple(notes)

    @property
    def _listed(self) -> str:
        words = ", ".join(
            repr(word if len(word) <= _SHOWN_CHARACTERS else f"{word[:_SHOWN_CHARACTERS]}...")
            for word in self.unknown[:_SHOWN]
        )
        return words + (f" and {len(self.unknown) - _SHOWN:,} more" if len(self.unknown) > _SHOWN else "")


def review_text(tokenizer: Tokenizer, text: str, length: int) -> TextReview:
    """Reviews one text.

    Args:
      tokenizer: tokenizer of the model.
      text: text to review.
      length: token limit of the model, including special tokens.
    """
    text, halves = repaired(text)
    words = split_words(text)
    unknown = tuple(word for word in words if is_unknown(tokenizer, word))
    pieces = len(tokenizer.pieces(text))
    return TextReview(len(words), unknown, pieces, min(pieces, length - 2), halves)


def is_unknown(tokenizer: Tokenizer, word: str) -> bool:
    """Returns whether a vocabulary lacks a part of a word, or spells it in pieces of under two letters on average.

    Vocabularies contain every letter as a piece, so that hardly any word lacks a part; but what a model learned about
    the letters x, y and z says nothing about "xyzzy". In scripts whose characters are words or syllables, one is
    enough.
    """
    pieces = tokenizer.pieces(word)
    if tokenizer.unk_id in pieces:
        return True
    spelled = word.isalpha() and ord(max(word)) < _LETTERS_END
    return spelled and len(word) > 1 and 2 * len(pieces) > len(word)


def split_words(text: str) -> list[str]:
    """Returns the distinct words and punctuation marks of a text, in order of first occurrence, split as by BERT."""
    found = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(repaired(text)[0])
    return list(dict.fromkeys(word for word, _ in found))
