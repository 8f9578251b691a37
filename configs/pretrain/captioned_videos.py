"""S-ViLM on a folder of captioned videos: a small model for a small dataset.

Command:   svilm prepare captioned_videos --videos VIDEOS --captions captions.json --out runs/data \\
               --short-side 96 --fps 8
           svilm train --config=pretrain/captioned_videos --workdir=runs/own
Hardware:  two CPU cores for up to some hundred clips; for more, use pretrain/svilm_b and accelerators.
Time:      2 minutes and 20 seconds of training on 39 clips.
Metric:    R@1 98.7 % on 39 real clips with 308 captions. Retrieval is evaluated on the training clips: it shows that
           the model can fit them, and does not measure generalization.
Arguments: steps.
"""

from svilm_jax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, steps=300)
    config = default_config()
    config.model.variant = "Mini"
    config.model.video.update({"num_frames": 12, "image_size": 64, "tubelet_size": (2, 16, 16), "activation": "relu"})
    config.model.grouping.update({"num_groups": 8, "after_layers": (2, 3, 4)})
    config.model.text.update({"phrase_length": 16, "max_positions": 32, "activation": "relu"})
    config.model.embed_dim = 128
    config.tokenizer.path = "dataset"  # the vocabulary that `svilm prepare` learned from these captions

    config.input.dataset = "runs/data/captioned_videos"
    config.input.crop_scale = (0.6, 1.0)
    config.input.cache_bytes = 2 * 2**30
    config.splice.block = 4

    config.optimizer.update({"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05})
    config.train.update({"batch_size": 32, "steps": arg.steps, "log_every": 10, "checkpoint_every": 100})
    config.objectives = {
        "global_contrast": {"weight": 1.0},
        "spatial_grounding": {"weight": 1.0},
        "temporal_grouping": {"weight": 1.0},
    }
    config.evaluators = {"retrieval": {"split": "train"}}
    return config
