"""Multi-level alignment in fine-tuning on untrimmed videos: with and without it, three seeds each.

Command:   svilm prepare moving_shapes --out runs/untrimmed --size untrimmed_train=600 --size untrimmed_test=200
           svilm sweep --config=sweeps/multilevel --sweep=arms,seeds --out=runs/multilevel \\
               --config.input.dataset=runs/untrimmed/moving_shapes --config.init.checkpoint=runs/demo
Hardware:  two CPU cores, 3 GB of memory.
Time:      not measured.
Metric:    retrieval/t2v_R1, or with task=question_answering qa/accuracy, of both arms: runs/multilevel/results.html.
Arguments: task=retrieval|question_answering, align=none|multilevel, seed.
"""

from svilm_configs.finetune import question_answering, retrieval

from svilm_jax.config import parse_arg

TASKS = {"retrieval": retrieval, "question_answering": question_answering}


def get_config(arg=None):
    arg = parse_arg(arg, task=tuple(TASKS), align=("none", "multilevel"), seed=0)
    return TASKS[arg.task].get_config(f"data=untrimmed,align={arg.align},seed={arg.seed}")


def sweep_arms():
    """The arguments after the colon of `--config` can be swept as well."""
    for align in ("none", "multilevel"):
        yield {"arg.align": align}


def sweep_seeds():
    for seed in range(3):
        yield {"train.seed": seed}
