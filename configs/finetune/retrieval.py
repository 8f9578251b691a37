"""Text-video retrieval, fine-tuned from a pre-trained checkpoint (METHOD 1.7).

Command:   svilm train --config=configs/finetune/retrieval.py:data=msrvtt --workdir=runs/msrvtt_retrieval \\
               --config.init.checkpoint=runs/pretrained --config.input.dataset=runs/data/msrvtt
Zero-shot: svilm eval runs/pretrained --config=configs/finetune/retrieval.py:data=msrvtt \\
               --config.input.dataset=runs/data/msrvtt
Hardware:  data=moving_shapes, untrimmed: two CPU cores, minutes. The others: accelerators, as for pre-training.
Metric:    the paper's S-ViLM on MSR-VTT 1k-A, zero-shot R@1/5/10 28.6 / 53.6 / 65.1, fine-tuned 38.4 / 65.7 / 76.3; not
           reproduced here yet. On untrimmed moving shapes: see experiments/README.md.
Arguments: data=msrvtt|msrvtt_full|msvd|activitynet_captions|moving_shapes|untrimmed, align=none|multilevel, steps,
           seed.
"""

from svilm_jax.config import ConfigError, default_config, parse_arg

# data: (training split, evaluated splits by the metrics' prefix, paragraphs)
DATA = {
    "msrvtt": ("train_9k", {"retrieval": "test_1ka"}, False),
    "msrvtt_full": ("train", {"retrieval": "test"}, False),
    "msvd": ("train", {"retrieval": "test"}, False),
    "activitynet_captions": ("train", {"retrieval": "val_1"}, True),
    "moving_shapes": ("train", {"retrieval": "test"}, False),
    "untrimmed": ("untrimmed_train", {"retrieval": "untrimmed_test"}, True),
}


def get_config(arg=None):
    arg = parse_arg(arg, data="msrvtt", align="none", steps=0, seed=0)
    if arg.data not in DATA or arg.align not in ("none", "multilevel"):
        known = f"data of {sorted(DATA)} and align=none or multilevel"
        raise ConfigError(f"data={arg.data}, align={arg.align}: expected {known}")
    train, test, paragraphs = DATA[arg.data]
    config = default_config()
    config.input.update({"dataset": "runs/data/moving_shapes", "split": train, "workers": 8, "prefetch": 4})
    config.splice.enabled = False
    config.optimizer.update({"name": "adamw", "learning_rate": 3e-5, "weight_decay": 0.05, "warmup_fraction": 0.1})
    config.train.update({"batch_size": 128, "epochs": 5.0, "steps": arg.steps, "seed": arg.seed})
    # A paragraph is the mean of its sentences' embeddings: it may be longer than the text tower reads at once.
    options = {"paragraph": "sentences" if paragraphs else "none"}
    config.evaluators = {
        prefix: {"kind": "retrieval", "split": split, "prefix": prefix, **options} for prefix, split in test.items()
    }
    config.objectives.global_contrast = {"weight": 1.0}
    if paragraphs:
        config.input.update({"text": "sentences", "num_sentences": 8})
    if arg.align == "multilevel":
        config.input.num_sentences = config.input.num_sentences or 1
        config.objectives.multilevel_alignment = {"weight": 1.0, "global_weight": 1.0, "segment_weight": 1.0}
    if arg.data in ("moving_shapes", "untrimmed"):
        config.input.update({"workers": 0, "threads": 1, "prefetch": 2, "cache_bytes": 2 * 2**30, "random_crop": False})
        config.optimizer.learning_rate = 3e-4
        config.train.update({"batch_size": 32, "log_every": 10})
        config.train.steps = arg.steps or 150
    return config
