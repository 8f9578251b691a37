"""Action recognition: full fine-tuning, or a linear probe on frozen features (docs/method.md, 1.7).

Command:   svilm train --config=finetune/action_recognition:data=ucf101,fold=1 --workdir=runs/ucf101_1 \\
               --config.init.checkpoint=runs/pretrained --config.input.dataset=runs/data/ucf101
Probe:     svilm eval runs/pretrained --config=finetune/action_recognition:data=ucf101,mode=probe \\
               --config.input.dataset=runs/data/ucf101       (all three folds and their mean)
Hardware:  two CPU cores for data=moving_shapes; accelerators for the others, as for pre-training.
Time:      minutes for moving shapes and for a probe; not measured for fine-tuning on the others.
Metric:    top-1 of the paper's S-ViLM on UCF101 / HMDB51, mean of three folds: linear probe 94.8 / 70.0, fine-tuned
           96.5 / 76.9. Not reproduced yet. data=moving_shapes, probe of the checkpoint of pretrain/demo: 60.0 % (one
           seed; randomly initialized tower: 26.3 %).
Arguments: data=ucf101|hmdb51|moving_shapes, mode=finetune|probe, fold=1|2|3 (of finetune), steps, seed.
"""

from svilm_jax.config import default_config, parse_arg


def get_config(arg=None):
    data = ("ucf101", "hmdb51", "moving_shapes")
    arg = parse_arg(arg, data=data, mode=("finetune", "probe"), fold=(1, 2, 3), steps=0, seed=0)
    folds = arg.data != "moving_shapes"
    train, test = (f"train{arg.fold}", f"test{arg.fold}") if folds else ("actions_train", "actions_test")
    config = default_config()
    config.task = "action_recognition"
    config.input.update({"dataset": "runs/data/moving_shapes", "split": train})
    config.input.update({"workers": 8, "prefetch": 4})
    config.splice.enabled = False
    config.init.learning_rate_scale = 0.1
    config.optimizer.update({"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05, "warmup_fraction": 0.1})
    config.train.update({"batch_size": 64, "epochs": 30.0, "steps": arg.steps, "seed": arg.seed})
    config.objectives.classification = {"weight": 1.0, "label_smoothing": 0.1}
    views = {"clips": 4, "crops": 3} if folds else {"clips": 1, "crops": 1}
    if arg.mode == "finetune":
        config.evaluators = {"action_recognition": {"split": test, **views}}
    else:
        prefix, numbers = ("", ("1", "2", "3")) if folds else ("actions_", ("",))
        every = {k: tuple(f"{prefix}{k}{i}" for i in numbers) for k in ("train", "test")}
        config.evaluators = {"linear_probe": {**every, **views}}
    if not folds:
        config.input.update({"workers": 0, "threads": 1, "prefetch": 2, "cache_bytes": 2 * 2**30, "random_crop": False})
        config.train.update({"log_every": 10})
        config.train.steps = arg.steps or 200
    return config
