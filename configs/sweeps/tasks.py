"""Fine-tuning of the demo for downstream tasks on moving shapes.

Command:   svilm extract-features --model runs/demo --dataset runs/data/moving_shapes --split untrimmed_train \\
               --window 1 --stride 0.25 --pool time --out runs/features/trained/train
           (also: --split untrimmed_test into runs/features/trained/test, and both with --random into
           runs/features/random)
           svilm sweep --config=sweeps/tasks --sweep=tasks --out=runs/tasks
Hardware:  two CPU cores, 3 GB of memory.
Time:      not measured.
Metric:    action/top1, qa/accuracy, and localization/mAP on features of the trained and of a randomly initialized
           tower: runs/tasks/results.html.
Arguments: task=action_recognition|question_answering|localization, tower=trained|random for localization, seed.
"""

from svilm_configs.finetune import action_recognition, localization, question_answering

from svilm_jax.config import parse_arg

TASKS = {
    "action_recognition": action_recognition,
    "question_answering": question_answering,
    "localization": localization,
}


def get_config(arg=None):
    arg = parse_arg(arg, task=tuple(TASKS), tower=("trained", "random"), seed=0)
    config = TASKS[arg.task].get_config(f"data=moving_shapes,seed={arg.seed}")
    if arg.task == "localization":
        config.model.localization.features = f"runs/features/{arg.tower}/train"
        config.evaluators.localization.features = f"runs/features/{arg.tower}/test"
    else:
        config.init.checkpoint = "runs/demo"
    return config


def sweep_tasks():
    yield {"arg.task": "action_recognition"}
    yield {"arg.task": "question_answering"}
    for tower in ("trained", "random"):
        yield {"arg.task": "localization", "arg.tower": tower}


def sweep_seeds():
    for seed in range(3):
        yield {"train.seed": seed}
