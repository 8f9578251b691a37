"""Learning rate and weight decay of the demo: a grid of 5 x 3 in the language of ml_collections configs, or a search.

Command:   svilm prepare moving_shapes --out runs/data
           svilm sweep --config=sweeps/lr_weight_decay --out=runs/lr_weight_decay
Search:    svilm sweep --config=sweeps/lr_weight_decay --out=runs/search --trials=20 --metric=retrieval/t2v_R1
Hardware:  two CPU cores, 3 GB of memory.
Time:      about two and a half hours (15 runs of the demo).
Metric:    retrieval/t2v_R1 of each pair, on the validation split: runs/lr_weight_decay/results.html.
Arguments: those of pretrain/demo.
"""

from svilm_configs.pretrain import demo


def get_config(arg=None):
    config = demo.get_config(arg)
    config.evaluators = {"retrieval": {"split": "validation"}}  # never the test split, while something is chosen
    return config


def get_hyper(hyper):
    return hyper.product(
        [
            hyper.sweep("config.optimizer.learning_rate", [2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3]),
            hyper.sweep("config.optimizer.weight_decay", [0.0, 0.05, 0.2]),
        ]
    )


def search(trial):
    return {
        "optimizer.learning_rate": trial.suggest_float("learning_rate", 2e-4, 5e-3, log=True),
        "optimizer.weight_decay": trial.suggest_float("weight_decay", 0.0, 0.2),
    }
