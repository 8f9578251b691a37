"""S-ViLM-B as the paper trains it: 32 frames of 224x224, 32 group tokens, batch 1,024.

Command:   svilm train --config=configs/pretrain/svilm_b.py --workdir=WORKDIR --config.input.dataset=DATASET \\
               --config.mesh.preset=fsdp --config.tokenizer.path=VOCAB.txt
Hardware:  accelerators with the parameters sharded over all of them: by the compiler's plan 64 chips of TPU v5e hold a
           step with 7.5 of 16 GiB each (svilm compile --topology=v5e:8x8 --mesh=fsdp); it has not been run on any.
Hours:     not measured. The paper: 10 epochs of VideoCC (3.3 M clips) and ActivityNet-Captions.
Metric:    the paper's zero-shot MSR-VTT 1k-A: R@1 28.6, R@5 53.6, R@10 65.1. Not reproduced here yet.
Arguments: variant=Ti|S|B|L, optimizer=sgd|adamw.
"""

from svilm_jax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, variant="B", optimizer="sgd")
    config = default_config()  # the defaults are the paper's: see svilm_jax/config.py for what is [P], [A] and [C]
    config.model.variant = arg.variant
    config.model.remat = "full"
    config.tokenizer.path = ""  # the paper's is BERT's WordPiece of 30,522 words [A], which is not part of this package
    config.input.workers = 16
    config.input.prefetch = 4
    config.optimizer.name = arg.optimizer
    if arg.optimizer == "adamw":
        config.optimizer.update({"learning_rate": 5e-4, "weight_decay": 0.05})
    config.objectives = {
        "global_contrast": {"weight": 1.0},
        "spatial_grounding": {"weight": 1.0},
        "temporal_grouping": {"weight": 1.0},
    }
    return config
