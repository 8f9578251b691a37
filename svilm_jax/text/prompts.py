"""Prompts: noun phrases of a caption, drawn and encoded inside prompt templates."""

from collections.abc import Sequence

import numpy as np

from svilm_jax.config import ConfigError
from svilm_jax.text.tokenizers import Tokenizer


def check_prompts(prompts: Sequence[str]) -> None:
    """Raises ConfigError unless there are prompts and each has exactly one place, `{}`, for the phrase."""
    if not prompts:
        raise ConfigError("input.prompts: expected at least one prompt, such as 'a video of {}'")
    for prompt in prompts:
        if prompt.count("{}") != 1 or prompt.count("{") != 1 or prompt.count("}") != 1:
            raise ConfigError(f"input.prompts: expected exactly one {{}} in {prompt!r}, where the phrase goes")


def choose_phrases(phrases: Sequence[str], count: int, rng: np.random.Generator | None) -> list[str]:
    """Returns at most `count` phrases: random ones without repetition in training, the first ones without `rng`.

    Both in reading order: the order of phrases has no meaning, and keeping it makes batches easier to inspect.
    """
    if rng is None or len(phrases) <= count:
        return list(phrases[:count])
    chosen = rng.choice(len(phrases), size=count, replace=False)
    return [phrases[i] for i in sorted(chosen)]


def encode_phrases(
    phrases: Sequence[str],
    count: int,
    tokenizer: Tokenizer,
    length: int,
    prompts: Sequence[str],
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Encodes phrases in prompts as ids: the first prompt, or with `rng` a random one for each phrase.

    Missing phrases are encoded as the empty sentence and masked. They are not all padding, since attention over a row
    without a single token is not finite.

    Returns:
      (nouns int32 [count, length], noun_mask bool [count]).
    """
    picks = [0] * len(phrases) if rng is None else rng.integers(len(prompts), size=len(phrases)).tolist()
    texts = [prompts[pick].format(phrase) for pick, phrase in zip(picks, phrases, strict=True)][:count]
    mask = np.arange(count) < len(texts)  # [K]
    return tokenizer.encode(texts + [""] * (count - len(texts)), length), mask
