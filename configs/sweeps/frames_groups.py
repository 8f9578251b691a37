"""Number of frames and of group tokens of the demo.

Command:   svilm prepare moving_shapes --out runs/data
           svilm sweep --config=sweeps/frames_groups --sweep=frames,groups --out=runs/frames_groups
Hardware:  two CPU cores, 3 GB of memory.
Time:      about two hours (9 runs of the demo).
Metric:    grounding/pointing_game and grouping/tubelet_accuracy of each pair: runs/frames_groups/results.html.
Arguments: those of pretrain/demo.
"""

from svilm_configs.pretrain import demo


def get_config(arg=None):
    return demo.get_config(arg)


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
