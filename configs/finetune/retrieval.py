"""Text-to-video retrieval, fine-tuned from a pretrained checkpoint (docs/method.md, 1.7).

Command:   svilm train --config=finetune/retrieval:data=msrvtt --workdir=runs/msrvtt_retrieval \\
               --config.init.checkpoint=runs/pretrained --config.input.dataset=runs/data/msrvtt
Zero-shot: svilm eval runs/pretrained --config=finetune/retrieval:data=msrvtt \\
               --config.input.dataset=runs/data/msrvtt
Hardware:  two CPU cores for data=moving_shapes and data=untrimmed; accelerators for the others, as for pre-training.
Time:      minutes for moving shapes; not measured for the others.
Metric:    the paper's S-ViLM on MSR-VTT 1k-A, R@1/5/10: zero-shot 28.6 / 53.6 / 65.1, fine-tuned 38.4 / 65.7 / 76.3.
           Not reproduced yet. data=untrimmed, paragraph-to-video R@1: 84.8 ± 1.0 % (three seeds), with
           align=multilevel 88.0 ± 0.9 %.
Arguments: data=msrvtt|msrvtt_full|msvd|activitynet_captions|moving_shapes|untrimmed,
           align=none|global|segment|multilevel, targets=graded|one_hot (of the segment level), steps, seed.
"""

from svilm_jax.config import default_config, parse_arg

# data: (training split, evaluated split, split that selects the checkpoint, whether the captions form a paragraph).
# Without the third, the last checkpoint is taken: `train_9k` contains the validation clips of MSR-VTT.
DATA = {
    "msrvtt": ("train_9k", "test_1ka", "", False),
    "msrvtt_full": ("train", "test", "validation", False),
    "msvd": ("train", "test", "validation", False),
    "activitynet_captions": ("train", "val_1", "", True),
    "moving_shapes": ("train", "test", "", False),
    "untrimmed": ("untrimmed_train", "untrimmed_test", "", True),
}
# Levels of multi-level alignment beside the contrast; the segment level needs sentences with times.
ALIGN = ("none", "global", "segment", "multilevel")


def get_config(arg=None):
    arg = parse_arg(arg, data=tuple(DATA), align=ALIGN, targets=("graded", "one_hot"), steps=0, seed=0)
    train, test, validation, paragraphs = DATA[arg.data]
    config = default_config()
    config.input.update({"dataset": "runs/data/moving_shapes", "split": train, "workers": 8, "prefetch": 4})
    config.splice.enabled = False
    config.optimizer.update({"name": "adamw", "learning_rate": 3e-5, "weight_decay": 0.05, "warmup_fraction": 0.1})
    # [C]. An epoch counts captions: 5 are 7,032 steps of MSR-VTT (9k), and 1,906 of MSVD. Paragraphs count as one.
    config.train.update({"batch_size": 128, "epochs": 5.0, "steps": arg.steps, "seed": arg.seed})
    # A paragraph may exceed the maximum length of the text tower; the mean of the embeddings of its sentences does not.
    config.evaluators = {"retrieval": {"split": test, "paragraph": "sentences" if paragraphs else "none"}}
    if validation:
        config.evaluators.validation = {"kind": "retrieval", "split": validation, "prefix": "validation"}
        config.train.update({"eval_every": 200, "evaluators": ("validation",)})
        config.train.best.metric = "validation/t2v_R1"
    config.objectives.global_contrast = {"weight": 1.0}
    if paragraphs:
        config.input.update({"text": "sentences", "num_sentences": 8})
    if arg.align != "none":
        config.input.num_sentences = config.input.num_sentences or 8
        config.objectives.multilevel_alignment = {
            "global_weight": float(arg.align != "segment"),
            "segment_weight": float(arg.align != "global"),
            "targets": arg.targets,
        }
    if arg.data in ("moving_shapes", "untrimmed"):
        config.input.update({"workers": 0, "threads": 1, "prefetch": 2, "cache_bytes": 2 * 2**30, "random_crop": False})
        config.optimizer.learning_rate = 3e-4
        config.train.update({"batch_size": 32, "log_every": 10})
        config.train.steps = arg.steps or 150
    return config
