"""Fraction of a dataset's captions that contain an out-of-vocabulary word."""

import collections
import itertools
from collections.abc import Mapping

from svilm_data.pipeline.checking import Checked

from svilm_jax.text.review import is_unknown, split_words
from svilm_jax.text.tokenizers import Tokenizer

LOOKED_AT = 10_000  # captions: enough for a share, and some seconds
_SHOWN = 5


def unknown_fraction(tokenizer: Tokenizer, checked: Mapping[str, Checked]) -> str:
    """Returns a note for a vocabulary that lacks words of the captions; "" if it has all of them."""
    texts = (c.text for split in checked.values() for entry, _, _ in split for c in entry.record.captions)
    known: dict[str, bool] = {}
    looked_at = lacking = 0
    frequent: collections.Counter[str] = collections.Counter()
    for text in itertools.islice(texts, LOOKED_AT):
        looked_at += 1
        words = split_words(text)
        known.update({word: not is_unknown(tokenizer, word) for word in words if word not in known})
        missing = [word for word in words if not known[word]]
        lacking += bool(missing)
        frequent.update(missing)
    if not lacking:
        return ""
    named = ", ".join(repr(word) for word, _ in frequent.most_common(_SHOWN))
    return f"; {lacking:,} of {looked_at:,} captions looked at have a word that it does not know (most often {named})"
