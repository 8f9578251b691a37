"""Deterministic training of a WordPiece vocabulary.

The trainer of the `tokenizers` package breaks ties in hash-table order: two runs over the same captions gave two
vocabularies, so the tokens of a checkpoint would not match those of a dataset that is prepared again.
"""

import collections
import heapq
import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

from svilm_jax.config import InputConfig
from svilm_jax.text.tokenizers import SPECIAL_TOKENS, TokenizerError

# A pair of pieces that is less frequent than this is not worth a row of the embedding table.
_MIN_COUNT = 2

Pair = tuple[str, str]


def train_wordpiece(texts: Iterable[str], vocab_size: int, path: str | Path, lowercase: bool = True) -> int:
    """Trains a WordPiece vocabulary and writes it to `path`, one token per line; deterministic for the same texts.

    Pieces are merged greedily, the most frequent adjacent pair first and among equally frequent ones the first in
    alphabetical order. Every printable ASCII character is in the vocabulary for any texts, so that every English
    sentence can be spelled; so are the words of the default prompts, which no caption contains.

    Args:
      texts: sentences, such as the captions of the training split.
      vocab_size: maximum number of tokens.
      path: file to write.
      lowercase: lower-case (and drop accents) first, as the tokenizer that reads the file will.

    Returns:
      Number of tokens written; below `vocab_size` if the texts have too few words.

    Raises:
      TokenizerError: `vocab_size` too small for special tokens and characters.
    """
    letters = string.ascii_lowercase + string.digits + ("" if lowercase else string.ascii_uppercase)
    prompts = " ".join(InputConfig().prompts).replace("{}", " ").split()
    tokens = list(SPECIAL_TOKENS)
    tokens += [*string.punctuation, *letters, *(f"##{letter}" for letter in letters)]
    tokens += sorted(set(prompts) - set(tokens))
    if vocab_size < len(tokens):
        raise TokenizerError(f"train_wordpiece: vocab_size {vocab_size} is below the {len(tokens)} tokens always in it")
    words = _count_words(texts, lowercase)
    known = set(tokens)
    for token in [*_characters(words), *_merges(words)]:
        if len(tokens) == vocab_size:
            break
        if token not in known:
            known.add(token)
            tokens.append(token)
    Path(path).write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return len(tokens)


def _count_words(texts: Iterable[str], lowercase: bool) -> dict[str, int]:
    """Counts the words of the texts, split as by BERT's WordPiece."""
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    counts: collections.Counter[str] = collections.Counter()
    for text, number in collections.Counter(texts).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            counts[word] += number
    return counts


def _pieces(word: str) -> list[str]:
    return [word[0], *(f"##{letter}" for letter in word[1:])]


def _characters(words: dict[str, int]) -> list[str]:
    """Returns the characters of the texts as first and later letters, the most frequent first."""
    counts: collections.Counter[str] = collections.Counter()
    for word, number in words.items():
        for piece in _pieces(word):
            counts[piece] += number
    return sorted((p for p, n in counts.items() if n >= _MIN_COUNT), key=lambda piece: (-counts[piece], piece))


def _merges(words: dict[str, int]) -> Iterable[str]:
    """Yields merged pieces in the order in which they are learned."""
    spelling = {word: _pieces(word) for word in words}
    counts: collections.Counter[Pair] = collections.Counter()
    places: dict[Pair, set[str]] = collections.defaultdict(set)  # words in which a pair occurs, or once did
    for word, pieces in spelling.items():
        for pair in zip(pieces, pieces[1:], strict=False):
            counts[pair] += words[word]
            places[pair].add(word)
    # The heap may contain outdated counts; an outdated entry is pushed back with its current count.
    heap = [(-number, pair) for pair, number in counts.items()]
    heapq.heapify(heap)
    while heap:
        number, best = heapq.heappop(heap)
        if -number != counts[best]:
            if counts[best] >= _MIN_COUNT:
                heapq.heappush(heap, (-counts[best], best))
            continue
        if -number < _MIN_COUNT:
            return
        joined = best[0] + best[1].removeprefix("##")
        grown: set[Pair] = set()
        for word in places.pop(best):
            old = spelling[word]
            new = spelling[word] = _join(old, best, joined)
            for pair in zip(old, old[1:], strict=False):
                counts[pair] -= words[word]
            for pair in zip(new, new[1:], strict=False):
                counts[pair] += words[word]
                places[pair].add(word)
                if joined in pair:
                    grown.add(pair)
        for pair in grown:
            heapq.heappush(heap, (-counts[pair], pair))
        yield joined


def _join(pieces: list[str], pair: Pair, joined: str) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(pieces):
        if i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == pair:
            out.append(joined)
            i += 2
        else:
            out.append(pieces[i])
            i += 1
    return out
