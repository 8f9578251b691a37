"""Number of frames and of group tokens of the demo.

Command:   svilm prepare moving_shapes --out runs/data
           svilm sweep --config=sweeps/frames_groups --sweep=frames,groups --out=runs/frames_groups
Hardware:  two CPU cores, 3 GB of memory.
Time:      about two hours (9 runs of the demo).
Metric:    grounding/pointing_game and grouping/tubelet_accuracy of each pair, on validation splits:
           runs/frames_groups/results.html.
Arguments: those of pretrain/demo.
"""

from svilm_configs.pretrain import demo


def get_config(arg=None):
    config = demo.get_config(arg)
    config.evaluators = {  # never a test split, while something is chosen
        "retrieval": {"split": "validation"},
        "grounding": {"split": "validation"},
        "grouping": {"split": "twins_validation", "spans": "all", "common_clips": 200},
    }
    return config


def sweep_frames():
    for frames in (10, 14, 18):
        yield {"model.video.num_frames": frames}


def sweep_groups():
    for groups in (4, 8, 16):
        yield {"model.grouping.num_groups": groups}


def sweep_blocks():
    """Layers that a grouping block follows: a tuple is one value."""
    for layers in ((3,), (2, 3), (1, 2, 3)):
        yield {"model.grouping.after_layers": layers}
