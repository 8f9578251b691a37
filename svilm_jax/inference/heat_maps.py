"""Phrase heat maps over the video tokens of a clip, computed from the outputs of both towers.

The readout was fixed before it was measured. A phrase is put into the first training prompt and embedded by the text
tower; its group is m* = argmax_m cos(group_embedding[m], phrase_embedding). Its heat map is one of

- `logits` (official where assignment is hard or gumbel): the affinity of m* to every video token in a grouping block.
  Hard assignment trains the affinities, and probabilities close to one are tied over whole regions;
- `assignments` (official where assignment is soft): the probability of m* at every token;
- `similarity_weighted` (for comparison): sum over groups of softmax_m(cos / temperature) times the assignment.
"""

from typing import Literal

import numpy as np

from svilm_jax.config import ConfigError, GroupingConfig

Readout = Literal["auto", "logits", "assignments", "similarity_weighted"]
OFFICIAL_READOUT = {"hard": "logits", "gumbel": "logits", "soft": "assignments"}


def resolve_readout(readout: str, assignment: str) -> str:
    """Returns the readout to use, with `auto` resolved by the assignment of the config."""
    return OFFICIAL_READOUT[assignment] if readout == "auto" else readout


def resolve_block(block: int, grouping: GroupingConfig) -> int:
    """Returns the index of the grouping block to read: from 0, or -1 for the last.

    Raises:
      ConfigError: the model has no such block.
    """
    blocks = len(grouping.after_layers)
    if not blocks or not 0 <= block <= blocks:
        raise ConfigError(f"grounding block={block}: the model has {blocks}; expected 1 to {blocks}, or 0 for the last")
    return block - 1


def heat_maps(
    reading: dict[str, np.ndarray], phrases: np.ndarray, readout: str, temperature: float, block: int = -1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes heat maps of phrases over one clip, their weights, and the matching groups.

    Args:
      reading: `group_embedding` [M, C], `logits` and `assignments` [blocks, M, Nt, h, w] of `Encoder.videos`.
      phrases: float32 [K, C], L2-normalized.
      readout: `logits`, `assignments` or `similarity_weighted`.
      block: index of the grouping block.
      temperature: of `similarity_weighted`.

    Returns:
      (heat float [K, Nt, h, w]; mass float [K, Nt, h, w], nonnegative: the assignment of the matched group, or the heat
      map if that is a probability itself; matched int [K]).
    """
    similarity = phrases @ reading["group_embedding"].T  # [K, M]
    matched = similarity.argmax(axis=1)  # [K]
    assignments = reading["assignments"][block]
    if readout != "similarity_weighted":
        return reading[readout][block][matched], assignments[matched], matched
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)  # [K, M]
    heat = np.tensordot(weights, assignments, axes=1)
    return heat, heat, matched
