"""Multi-level alignment in fine-tuning on untrimmed videos: each level, both and none, three seeds each.

Command:   svilm prepare moving_shapes --out runs/untrimmed --size untrimmed_train=600 --size untrimmed_test=200
           svilm sweep --config=sweeps/multilevel --sweep=arms,seeds --out=runs/multilevel \\
               --config.input.dataset=runs/untrimmed/moving_shapes --config.init.checkpoint=runs/demo
Hardware:  two CPU cores, 3 GB of memory.
Time:      not measured.
Metric:    retrieval/t2v_R1, or with task=question_answering qa/accuracy, of each arm: runs/multilevel/results.html.
Arguments: task=retrieval|question_answering, align=none|global|segment|multilevel, targets=graded|one_hot, seed.
"""

from svilm_configs.finetune import question_answering, retrieval

from svilm_jax.config import parse_arg

TASKS = {"retrieval": retrieval, "question_answering": question_answering}


def get_config(arg=None):
    targets = ("graded", "one_hot")
    arg = parse_arg(arg, task=tuple(TASKS), align=retrieval.ALIGN, targets=targets, seed=0)
    return TASKS[arg.task].get_config(f"data=untrimmed,align={arg.align},targets={arg.targets},seed={arg.seed}")


def sweep_arms():
    """The arguments after the colon of `--config` can be swept as well."""
    for align in retrieval.ALIGN:
        for targets in ("graded", "one_hot") if align in ("segment", "multilevel") else ("graded",):
            yield {"arg.align": align, "arg.targets": targets}


def sweep_seeds():
    for seed in range(3):
        yield {"train.seed": seed}
