"""Forms of the temporal grouping loss at the paper's 16 temporal indices, on real clips: which ones need the clip.

Command:   svilm prepare captioned_videos --videos VIDEOS --captions captions.json --out runs/data \\
               --short-side 96 --fps 16 --validation-fraction 0.1
           svilm sweep --config=sweeps/temporal_forms --sweep=forms,positions,seeds --out=runs/temporal_forms
Hardware:  two CPU cores, 4 GB of memory.
Time:      not measured.
Metric:    grouping/tubelet_accuracy_ordinary beside its baseline index_only: runs/temporal_forms/results.html.
Arguments: steps.
"""

from svilm_configs.pretrain import captioned_videos

from svilm_jax.config import parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, steps=300)
    config = captioned_videos.get_config(f"steps={arg.steps}")
    config.model.video.num_frames = 32  # 16 temporal indices
    config.splice.block = 8
    config.objectives = {"global_contrast": {"weight": 1.0}, "temporal_grouping": {"weight": 1.0}}
    config.evaluators = {
        "grouping": {"split": "validation", "partners": "next", "spans": "all", "common_clips": 0},
        "centered": {
            "kind": "grouping",
            "prefix": "centered",
            "split": "validation",
            "partners": "next",
            "spans": "all",
            "common_clips": 100,
        },
    }
    return config


def sweep_forms():
    """The literal loss, centers that leave z_j out, and the mean over the batch taken off."""
    for centers, centered in (("all", False), ("others", False), ("all", True), ("others", True)):
        yield {"objectives.temporal_grouping.centers": centers, "objectives.temporal_grouping.centered": centered}


def sweep_reads():
    """z_j from the video tokens, or after the projection of the contrast."""
    for read in ("tokens", "embedding"):
        yield {"objectives.temporal_grouping.read": read}


def sweep_positions():
    for scale in (1.0, 0.1):
        yield {"model.video.position_scale": scale}


def sweep_depths():
    for layers in (2, 4):
        yield {"model.video.num_layers": layers, "model.grouping.after_layers": tuple(range(1, layers + 1))}


def sweep_seeds():
    for seed in range(3):
        yield {"train.seed": seed}
