"""Temporal action localization: G-TAD on frozen features of sliding windows (METHOD 1.7).

Command:   svilm embed --model runs/pretrained --dataset runs/data/activitynet --split train --window 2 --stride 1 \\
               --out runs/features/train                     (and --split validation)
           svilm train --config=configs/finetune/localization.py --workdir=runs/localization \\
               --config.model.localization.features=runs/features/train \\
               --config.evaluators.localization.features=runs/features/validation
Hardware:  data=moving_shapes: two CPU cores, minutes. ActivityNet-1.3: one accelerator.
Metric:    the paper's S-ViLM on ActivityNet-1.3: mAP 51.7 / 36.4 / 9.7 at tIoU 0.5 / 0.75 / 0.95, mean 35.6; not
           reproduced here yet. Moving shapes: README.md.
Arguments: data=activitynet|moving_shapes, steps, seed.
"""

from svilm_jax.config import ConfigError, default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, data="activitynet", steps=0, seed=0)
    if arg.data not in ("activitynet", "moving_shapes"):
        raise ConfigError(f"data={arg.data}: expected activitynet or moving_shapes")
    config = default_config()
    config.task = "localization"
    config.splice.enabled = False
    config.model.localization.features = "runs/features/train"
    # [P]: Adam, 4e-3, weight decay 1e-4, batch 16, 10 epochs; the step to a tenth after 5 became a cosine [C].
    config.optimizer.update({"name": "adamw", "learning_rate": 4e-3, "beta2": 0.999, "weight_decay": 1e-4})
    config.train.update({"batch_size": 16, "epochs": 10.0, "steps": arg.steps, "seed": arg.seed})
    config.objectives.localization = {"weight": 1.0}
    # ActivityNet: an external classifier of whole videos names the actions, by its best two classes.
    config.evaluators = {"localization": {"features": "runs/features/validation", "classifier": "", "top": 2}}
    if arg.data == "moving_shapes":
        # A video has a handful of actions of all kinds: what happens is read from its steps.
        config.model.localization.update({"num_steps": 48, "hidden_size": 128, "num_samples": 16})
        config.train.update({"steps": arg.steps or 400, "log_every": 10})
        config.evaluators.localization.top = 1
    return config
