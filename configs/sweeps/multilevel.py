"""Multi-level alignment in fine-tuning for retrieval on untrimmed videos: with and without it, three seeds each.

Command:   svilm prepare moving_shapes --out runs/untrimmed --size untrimmed_train=600 --size untrimmed_test=200
           svilm sweep --config=sweeps/multilevel --sweep=arms,seeds --out=runs/multilevel \\
               --config.input.dataset=runs/untrimmed/moving_shapes --config.init.checkpoint=runs/demo
Hardware:  two CPU cores, 3 GB of memory.
Time:      not measured.
Metric:    retrieval/t2v_R1 of both arms: runs/multilevel/results.html.
Arguments: steps, as of finetune/retrieval.
"""

from svilm_configs.finetune import retrieval


def get_config(arg=None):
    return retrieval.get_config(arg)


def sweep_arms():
    """The arguments after the colon of `--config` can be swept as well."""
    for align in ("none", "multilevel"):
        yield {"arg.data": "untrimmed", "arg.align": align}


def sweep_seeds():
    for seed in range(3):
        yield {"train.seed": seed}
