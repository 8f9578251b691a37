"""Analytic FLOP count of a model config: one multiply-add is two operations.

Matrix products only. Norms, softmax and activations are a few percent of a step and are left out, as is customary for
model FLOPs utilization (MFU); recomputation by rematerialization is not counted either.
"""

import math

from svilm_jax.config import Config, ModelConfig
from svilm_jax.models.patch_embedding import embedding_layers, token_grid
from svilm_jax.models.variants import Size, tower_sizes


def video_flops(config: ModelConfig) -> float:
    """Returns the forward FLOPs of one clip."""
    size, _ = tower_sizes(config)
    times, rows, columns = token_grid(config.video)
    tokens, groups, width = times * rows * columns, config.grouping.num_groups, size.hidden_size
    ratio = config.video.mlp_ratio
    sequence = tokens + groups if config.grouping.in_layers else tokens
    patches = sum(2 * tokens * math.prod(layer) for layer in embedding_layers(config.video, width))
    block = (
        2 * groups * width * (2 * width)  # cross-attention: queries and output, on groups
        + 2 * tokens * width * (2 * width)  # its keys and values, over video tokens
        + 4 * groups * tokens * width  # its two attention products
        + 2 * (2 * groups * width * 2 * ratio * width)  # two MLPs on groups
        + 2 * groups * width * (2 * width)  # assignment query, and the output of the update
        + 2 * tokens * width * (2 * width)  # assignment key and value
        + 4 * groups * tokens * width  # logits and update
    )
    pooled = width * (2 if config.clip_pool == "both" else 1)
    projections = 2 * (pooled + groups * width) * config.embed_dim
    blocks = len(config.grouping.after_layers)
    return patches + size.num_layers * layer_flops(size, sequence, ratio) + blocks * block + projections


def text_flops(config: ModelConfig, length: int) -> float:
    """Returns the forward FLOPs of one sentence of `length` tokens."""
    _, size = tower_sizes(config)
    layers = size.num_layers * layer_flops(size, length, config.text.mlp_ratio)
    return layers + 2 * size.hidden_size * config.embed_dim


def layer_flops(size: Size, tokens: int, mlp_ratio: float) -> float:
    """Returns the FLOPs of one transformer layer: four projections, the MLP, and the two products of attention."""
    linear = 2 * tokens * size.hidden_size * (4 * size.hidden_size + 2 * mlp_ratio * size.hidden_size)
    return linear + 4 * tokens * tokens * size.hidden_size


def train_flops(config: ModelConfig, nouns: int, sentences: int = 1) -> float:
    """Returns the FLOPs of one clip with the given phrases and sentences, forward and backward (twice the forward).

    Heads are left out: compared with the towers they are one or two percent.
    """
    text = config.text
    forward = (
        video_flops(config)
        + sentences * text_flops(config, text.max_length)
        + nouns * text_flops(config, text.phrase_length or text.max_length)
    )
    return 3 * forward


def task_flops(config: Config) -> float:
    """Returns the training FLOPs of one clip of a config's task; 0 for localization, which is not counted."""
    if config.task == "localization":
        return 0.0
    given = config.input
    reads = config.task == "question_answering" or (config.task == "video_text" and given.text != "sentences")
    sentences = given.num_sentences + reads
    return train_flops(config.model, given.num_phrases if config.task == "video_text" else 0, sentences)
