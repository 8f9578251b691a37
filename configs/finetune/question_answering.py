"""Video question answering: classification over the answers of the training split (docs/method.md, 1.7).

Command:   svilm train --config=finetune/question_answering:data=msrvtt_qa --workdir=runs/msrvtt_qa \\
               --config.init.checkpoint=runs/pretrained --config.input.dataset=runs/data/msrvtt_qa
Hardware:  two CPU cores for data=moving_shapes and data=untrimmed; accelerators for the others, as for pre-training.
Time:      minutes for moving shapes; not measured for the others.
Metric:    accuracy of the paper's S-ViLM: MSRVTT-QA 43.5, MSVD-QA 46.4. Not reproduced yet. data=moving_shapes, from
           the checkpoint of pretrain/demo: 49.4 % (one seed; most frequent answer: 3.1 %).
Arguments: data=msrvtt_qa|msvd_qa|activitynet_qa|moving_shapes|untrimmed, align=none|global|segment|multilevel,
           targets=graded|one_hot (of the segment level), steps, seed. The public question-answering datasets have no
           captions: there the global level aligns a video with the question and its answer, and the segment level is
           refused. data=untrimmed has timed sentences.
"""

from svilm_jax.config import default_config, parse_arg

# data: (training split, evaluated split, split that selects the checkpoint; "": the last one is taken)
DATA = {
    "msrvtt_qa": ("train", "test", "validation"),
    "msvd_qa": ("train", "test", "validation"),
    "activitynet_qa": ("train", "test", "validation"),
    "moving_shapes": ("train", "test", ""),
    "untrimmed": ("untrimmed_train", "untrimmed_test", ""),
}


def get_config(arg=None):
    align = ("none", "global", "segment", "multilevel")
    arg = parse_arg(arg, data=tuple(DATA), align=align, targets=("graded", "one_hot"), steps=0, seed=0)
    train, test, validation = DATA[arg.data]
    config = default_config()
    config.task = "question_answering"
    config.model.head.max_classes = 1500  # [C] a common choice for MSRVTT-QA
    config.input.update({"dataset": "runs/data/moving_shapes", "split": train})
    config.input.update({"workers": 8, "prefetch": 4})
    config.splice.enabled = False
    config.init.learning_rate_scale = 0.1  # of the towers; the head is newly initialized
    config.optimizer.update({"name": "adamw", "learning_rate": 3e-4, "weight_decay": 0.05, "warmup_fraction": 0.1})
    # [C]. An epoch counts questions: 5 are 6,195 steps of MSRVTT-QA, and 1,209 of MSVD-QA.
    config.train.update({"batch_size": 128, "epochs": 5.0, "steps": arg.steps, "seed": arg.seed})
    config.evaluators = {"question_answering": {"split": test, "predictions": ""}}
    if validation:
        config.evaluators.validation = {"kind": "question_answering", "split": validation, "prefix": "validation"}
        config.train.update({"eval_every": 200, "evaluators": ("validation",)})
        config.train.best.metric = "validation/accuracy"
    config.objectives.classification = {"weight": 1.0}
    if arg.align != "none":
        captioned = arg.data == "untrimmed"
        config.input.num_sentences = 8 if captioned else 1
        config.input.sentences = "captions" if captioned else "question"
        config.objectives.multilevel_alignment = {
            "global_weight": float(arg.align != "segment"),
            "segment_weight": float(arg.align != "global"),
            "targets": arg.targets,
        }
    if arg.data in ("moving_shapes", "untrimmed"):
        config.input.update({"workers": 0, "threads": 1, "prefetch": 2, "cache_bytes": 2 * 2**30, "random_crop": False})
        config.init.learning_rate_scale = 0.3
        config.optimizer.learning_rate = 1e-3
        trimmed = arg.data == "moving_shapes"
        config.train.update({"batch_size": 64 if trimmed else 32, "log_every": 10})
        config.train.steps = arg.steps or (300 if trimmed else 200)
    return config
