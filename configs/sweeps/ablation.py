"""Ablation of the paper on the demo: contrast, + L_g, + L_t, and all three losses, several seeds each.

Command:   svilm prepare moving_shapes --out runs/data
           svilm sweep --config=sweeps/ablation --sweep=arms,seeds --out=runs/ablation
Hardware:  two CPU cores, 3 GB of memory.
Time:      about two hours (12 runs of the demo).
Metric:    text-to-video R@1, pointing game, and splice accuracy of each arm: runs/ablation/results.html.
Arguments: those of pretrain/demo.

Cut and paste is on in all arms: it changes the input, and an arm without it would differ in more than its losses.
"""

from svilm_configs.pretrain import demo

# Weights of spatial grounding and temporal grouping; an objective of weight 0 is left out.
ARMS = ((0.0, 0.0), (5.0, 0.0), (0.0, 12.0), (5.0, 12.0))


def get_config(arg=None):
    return demo.get_config(arg)


def sweep_arms():
    for spatial, temporal in ARMS:
        yield {"objectives.spatial_grounding.weight": spatial, "objectives.temporal_grouping.weight": temporal}


def sweep_seeds():
    for seed in range(3):
        yield {"train.seed": seed}
