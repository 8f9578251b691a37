"""Dual softmax, a transductive reranking of retrieval scores.

From CAMoE (Cheng et al., arXiv 2109.04290): the score of a gallery item is reduced for each query if many queries match
it. The method reads the other test queries, which a search engine does not have, so its results are reported in a
row of their own and are not comparable with plain cosine similarity.
"""

import numpy as np

TEMPERATURE = 0.01  # CLIP's logit scale of 100, as in published dual-softmax results


def dual_softmax(similarity: np.ndarray, temperature: float = TEMPERATURE) -> np.ndarray:
    """Multiplies the similarities by a prior: how likely each query is the one that an item belongs to.

    `S'[q, g] = S[q, g] * exp(S[q, g] / t) / sum over queries p of exp(S[p, g] / t)`. For the other direction pass the
    transposed matrix: its queries are the other side, so the sum then runs over that.

    The product is the published one. It assumes that similarities of matching pairs are positive: a small prior moves a
    negative one towards zero, that is, up.

    Args:
      similarity: float [Q, G], query by gallery item.
      temperature: t above, positive. The smaller, the more an item belongs to a single query.

    Returns:
      float64 [Q, G].

    Raises:
      ValueError: not a matrix, or a temperature that is not positive.
    """
    similarity = np.asarray(similarity, np.float64)
    if similarity.ndim != 2:
        raise ValueError(f"similarity {similarity.shape}: expected [queries, gallery]")
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature {temperature}: expected a positive number")
    logits = similarity / temperature
    weights = np.exp(logits - logits.max(axis=0, keepdims=True, initial=-np.inf))  # the largest is 1: no overflow
    return similarity * weights / weights.sum(axis=0, keepdims=True)
