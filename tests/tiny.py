"""Smallest config with every part of the method, for tests of model and training; also a --config file."""

import functools

from svilm_jax.config import Config, default_config, parse_arg, resolve
from svilm_jax.inference import TrainedModel
from svilm_jax.models.svilm import build_model
from svilm_jax.text.tokenizers import load_tokenizer


def get_config(arg=None):
    """Width 16, two layers, Nt=4, 2x2 positions, 4 groups."""
    arg = parse_arg(arg, dataset="", width=16, evaluator="")
    config = default_config()
    config.model.update({"variant": "Ti", "embed_dim": 16, "compute_dtype": "float32"})
    config.model.video.update(
        {
            "num_frames": 8,
            "image_size": 16,
            "tubelet_size": (2, 8, 8),
            "num_layers": 2,
            "hidden_size": arg.width,
            "num_heads": 2,
            "activation": "relu",
        }
    )
    config.model.grouping.update({"num_groups": 4, "after_layers": (1, 2)})
    config.model.text.update(
        {
            "max_length": 28,
            "phrase_length": 14,
            "num_layers": 1,
            "hidden_size": arg.width,
            "num_heads": 2,
            "max_positions": 32,
        }
    )
    config.input.update({"dataset": arg.dataset, "threads": 1, "crop_scale": (0.8, 1.0)})
    config.splice.block = 2
    config.optimizer.update({"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05})
    config.train.update({"batch_size": 8, "steps": 6, "log_every": 1, "checkpoint_every": 100})
    config.objectives = {"global_contrast": {}, "spatial_grounding": {"chunk": 3}, "temporal_grouping": {}}
    if arg.evaluator:
        config.evaluators = {arg.evaluator: {"split": "test"}}
    return config


def tiny_config(dataset: str = "", width: int = 16, **changes: object) -> Config:
    """The same, resolved; `changes` are flattened keys such as `**{"train.steps": 3}`."""
    config = get_config(f"dataset={dataset},width={width}")
    config.update_from_flattened_dict(changes)
    return resolve(config)


@functools.cache
def tiny_model(seed: int = 0, **changes: object) -> TrainedModel:
    """A model of that config with random parameters and the vocabulary of moving shapes."""
    config, tokenizer = tiny_config(**changes), load_tokenizer("builtin:moving_shapes")
    return TrainedModel(build_model(config, tokenizer.vocab_size, seed), config, tokenizer, step=7, grounding_block=1)
