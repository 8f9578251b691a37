"""S-ViLM in miniature on moving shapes: every part of the method, on two CPU cores.

Command:   svilm prepare moving_shapes --out runs/data
           svilm train --config=configs/pretrain/demo.py --workdir=runs/demo
Baseline:  svilm train --config=configs/pretrain/demo.py:objectives=contrast --workdir=runs/contrast
Hardware:  two CPU cores, no accelerator.
Metric:    see README.md, "Results".
Arguments: objectives=full|contrast, seed.
"""

from svilm_jax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, objectives="full", seed=0)
    config = default_config()
    config.model.variant = "Mini"
    # Four time indices: what two cores can afford, and one too few for temporal grouping to be learned in earnest (see
    # objectives/temporal_grouping.py); with 10 frames a step takes a fifth longer.
    config.model.video.update({"frames": 8, "size": 64, "tubelet": (2, 16, 16), "activation": "relu"})
    config.model.grouping.update({"num_groups": 8, "after_layers": (2, 3, 4)})
    config.model.text.update({"length": 28, "noun_length": 10, "positions": 32, "activation": "relu"})
    config.model.embed_dim = 128

    config.input.dataset = "runs/data/moving_shapes"
    config.input.shuffle_block = 2  # pairs of look-alikes: hard negatives, and every second splice partner
    config.input.update({"crop_scale": (0.6, 1.0), "crop_ratio": (1.0, 1.0)})  # shapes are what is told
    config.input.update({"cache_bytes": 2 * 2**30, "threads": 1})

    # Muon learns in half of AdamW's steps, but from the first step on it leaves phrases ungrounded; once they are
    # grounded, they stay so (experiments/README.md).
    config.optimizer.update({"name": "muon", "muon_from": 0.45, "muon_rms": 0.3, "momentum": 0.95})
    config.optimizer.update({"learning_rate": 1e-3, "weight_decay": 0.05})
    config.train.update({"batch_size": 64, "steps": 520, "seed": arg.seed, "log_every": 10, "checkpoint_every": 200})

    config.objectives.global_contrast = {"weight": 1.0}
    if arg.objectives == "full":
        config.objectives.spatial_grounding = {"weight": 1.0}
        config.objectives.temporal_grouping = {"weight": 1.0}
    config.splice.enabled = arg.objectives == "full"

    config.evaluators = {
        "retrieval": {"split": "test"},
        "retrieval_hard": {"split": "hard_test"},
        "grounding": {"split": "test"},
        "grouping": {"split": "twins_test"},
        "scene_cuts": {"split": "untrimmed_test"},
    }
    return config
