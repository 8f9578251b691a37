"""Temporal action localization: G-TAD on frozen sliding-window features (docs/method.md, 1.7).

Command:   svilm extract-features --model runs/pretrained --dataset runs/data/activitynet --split train \\
               --window 2 --stride 1 --out runs/features/train        (also for --split validation)
           svilm train --config=finetune/localization --workdir=runs/localization \\
               --config.evaluators.localization.classifier=cuhk_val_simp_share.json
Hardware:  two CPU cores for data=moving_shapes; one accelerator for ActivityNet-1.3.
Time:      minutes for moving shapes; not measured for ActivityNet-1.3.
Metric:    mAP of the paper's S-ViLM on ActivityNet-1.3 at tIoU 0.5 / 0.75 / 0.95: 51.7 / 36.4 / 9.7, average 35.6. Not
           reproduced yet. data=moving_shapes, features of the checkpoint of pretrain/demo: average mAP 40.1 % (one
           seed; features of a randomly initialized tower: 1.2 %).
Arguments: data=activitynet|moving_shapes; recipe=authors|ours (default: that of the authors on ActivityNet, ours on
           moving shapes); steps, seed.
"""

from svilm_jax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, data=("activitynet", "moving_shapes"), recipe=("default", "authors", "ours"), steps=0, seed=0)
    config = default_config()
    config.task = "localization"
    config.splice.enabled = False
    config.model.localization.features = "runs/features/train"
    config.train.update({"batch_size": 16, "epochs": 10.0, "steps": arg.steps, "seed": arg.seed})  # [P]
    config.optimizer.update({"learning_rate": 4e-3, "beta2": 0.999, "weight_decay": 1e-4})  # [P]
    config.objectives.localization = {"weight": 1.0}
    # On ActivityNet, the top two classes of an external video classifier label the proposals.
    config.evaluators = {"localization": {"features": "runs/features/validation", "classifier": "", "top": 2}}
    if arg.recipe == "authors" or (arg.recipe == "default" and arg.data == "activitynet"):
        _authors_recipe(config)
    else:
        config.optimizer.name = "adamw"  # with warm-up, cosine decay and clipping
        config.evaluators.localization.boundaries = True
    if arg.data == "moving_shapes":
        # Videos contain several different actions, so the model itself classifies each proposal.
        config.model.localization.update({"num_steps": 48, "hidden_size": 128, "num_samples": 16, "classify": True})
        config.train.update({"steps": arg.steps or 400, "log_every": 10})
        config.evaluators.localization.top = 1
    return config


def _authors_recipe(config):
    """Trains as the authors of G-TAD do, by their code for ActivityNet (frostinassiky/gtad, branch anet) [P]."""
    config.optimizer.update({"name": "adam", "decayed": "all", "clip_norm": 0.0, "warmup_fraction": 0.0})
    config.optimizer.update({"schedule": "steps", "drops": (0.5,), "drop_factor": 0.1})
    # No class branch, whose loss would also train the layers below the proposals.
    config.model.localization.classify = False
    # The checkpoint of the lowest validation loss, which they measure after every epoch of 603 steps. Their validation
    # split is also the evaluated one, since the labels of the test split were never published.
    config.evaluators.localization_loss = {"features": "runs/features/validation"}
    config.train.update({"eval_every": 603, "evaluators": ("localization_loss",)})
    config.train.best.update({"metric": "localization/loss", "mode": "min"})
