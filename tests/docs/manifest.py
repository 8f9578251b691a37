"""Manifest of documented commands: those that `test_commands.py` runs in miniature, and the tests of the others."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Run:
    """A documented command that is run.

    Attributes:
      text: as the documentation has it.
      more: further arguments that make it small.
      leaves: files or folders that exist afterwards.
    """

    text: str
    more: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()


SIZES = ("train=32", "validation=8", "test=8", "hard_test=8", "twins_test=4", "untrimmed_train=2", "untrimmed_test=2")
SMALL = (
    "--config.train.steps=2",
    "--config.train.batch_size=8",
    "--config.model.video.image_size=32",
)

# In this order, in one folder with VIDEOS and captions.csv.
RUNS = (
    Run(
        "svilm prepare moving_shapes --out runs/data",
        ("--workers=1", *(word for size in SIZES for word in ("--size", size))),
        ("runs/data/moving_shapes/vocab.txt",),
    ),
    Run(
        "svilm train --config=configs/pretrain/demo.py --workdir=runs/demo "
        "--config.input.dataset=runs/data/moving_shapes",
        (*SMALL, "--config.model.video.num_layers=1", "--config.model.grouping.after_layers=1"),
        ("runs/demo/metrics.json",),
    ),
    Run("svilm report runs/demo", (), ("runs/demo/report.html",)),
    Run(
        "svilm prepare captioned_videos --videos VIDEOS --captions captions.csv --out runs/data "
        "--short-side 96 --fps 8",
        ("--workers=1",),
        ("runs/data/captioned_videos/preparation.json",),
    ),
    Run("svilm inspect runs/data/captioned_videos", (), ("runs/data/captioned_videos/contact_sheet.png",)),
    Run(
        "svilm train --config=configs/pretrain/captioned_videos.py --workdir=runs/own",
        SMALL,
        ("runs/own/metrics.json",),
    ),
    Run("svilm status runs/demo"),
    Run("svilm eval runs/own"),
    Run("svilm report runs/own", (), ("runs/own/report.html",)),
    Run("svilm config pretrain/demo --config.train.steps=100"),
    Run("svilm eval runs/demo --config=pretrain/demo --config.input.dataset=runs/data/moving_shapes"),
    Run("svilm export runs/demo --out model --license apache-2.0", (), ("model/model.safetensors", "model/README.md")),
    Run("svilm embed VIDEOS --model runs/demo --out features.parquet", (), ("features.parquet",)),
    Run('svilm search "a man plays guitar" --index features.parquet'),
    Run(
        "svilm extract-features --model runs/demo --dataset runs/data/moving_shapes --split untrimmed_test "
        "--window 1.25 --stride 0.25 --pool time --out runs/features/test",
        (),
        ("runs/features/test",),
    ),
)

# Kind of a command (`commands.Command.kind`) -> the test that runs it. A trailing * stands for any ending.
ELSEWHERE = {
    "compile *": "tests/profiling/test_aot.py",
    "eval": "tests/cli/test_command_line.py",
    "eval finetune/*": "tests/test_tasks.py",
    "import *": "tests/cli/test_model_commands.py",
    "launch": "tests/cli/test_launch.py",
    "prepare *": "tests/data/datasets",
    "score *": "tests/cli/test_score.py",
    "serve": "tests/serving",
    "sweep": "tests/cli/test_sweep.py",
    "train finetune/*": "tests/test_tasks.py",
    "train pretrain/svilm_b": "tests/test_configs.py",
}
