"""S-ViLM-B as in the paper: 32 frames of 224x224 pixels, 32 group tokens, batch size 1,024.

Command:   svilm train --config=pretrain/svilm_b --workdir=WORKDIR --config.input.dataset=DATASET \\
               --config.mesh.preset=fsdp --config.tokenizer.path=VOCAB.txt
Hardware:  64 TPU v5e chips with sharded parameters: according to the compiled plan, a step needs 7.5 of 16 GiB per chip
           (svilm compile --config=pretrain/svilm_b --topology=v5e:8x8 --mesh=fsdp). Not run on hardware yet.
Time:      not measured. The paper trains for 10 epochs on VideoCC (3.3 M clips) and ActivityNet-Captions.
Metric:    the paper's zero-shot retrieval on MSR-VTT 1k-A: R@1 28.6, R@5 53.6, R@10 65.1. Not reproduced yet.
Arguments: variant=Ti|S|B|L, optimizer=sgd|adamw.
"""

from svilm_jax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, variant=("B", "Ti", "S", "L"), optimizer=("sgd", "adamw"))
    config = default_config()  # defaults to the paper's setup; `svilm config pretrain/svilm_b` prints their grades
    config.model.variant = arg.variant
    config.model.remat = "full"
    config.tokenizer.path = ""  # required: the paper uses BERT's WordPiece vocabulary, which is not included
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
