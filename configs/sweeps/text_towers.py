"""The demo with a randomly initialized text tower, and with that of MiniLM, frozen and fine-tuned.

Command:   svilm prepare moving_shapes --out runs/data
           svilm import --text all-MiniLM-L6-v2 --config=pretrain/demo --out runs/minilm
           svilm sweep --config=sweeps/text_towers --sweep=towers,seeds --out=runs/text_towers
Hardware:  two CPU cores, 4 GB of memory.
Time:      not measured.
Metric:    retrieval/t2v_R1 and retrieval_hard/t2v_R1 of each tower: runs/text_towers/results.html.
Arguments: those of pretrain/demo.
"""

from svilm_configs.pretrain import demo


def get_config(arg=None):
    return demo.get_config(arg)


def sweep_towers():
    for text in ("fresh", "frozen", "tuned"):
        yield {"arg.text": text}


def sweep_seeds():
    for seed in range(3):
        yield {"train.seed": seed}
