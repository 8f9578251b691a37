"""Arguments and help texts shared by the commands."""

import argparse
from pathlib import Path

from svilm_jax.config import ConfigError

MODEL = "directory of `svilm export`, --workdir of `svilm train`, or WORKDIR/checkpoints/STEP"
CONFIG = "Python file with get_config(), or the name of a packaged config such as pretrain/demo"
OVERRIDES = (
    "--config.KEY=VALUE overrides one key of the config, for example --config.train.steps=100; "
    "--config=FILE:KEY=VALUE passes arguments to its get_config"
)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds `--checkpoint`, the choice between the checkpoints of a workdir."""
    parser.add_argument(
        "--checkpoint",
        default="newest",
        metavar="newest|best|STEP",
        help="of a workdir: the newest one, the best by config.train.best, or that of a step (default: newest)",
    )


def checkpoint_path(model: Path, checkpoint: str) -> Path:
    """Returns the path of the chosen checkpoint, for `svilm_jax.load`.

    Args:
      model: the path that was given.
      checkpoint: value of `--checkpoint`.

    Raises:
      ConfigError: another value, or a model that is not a workdir.
    """
    if checkpoint == "newest":
        return model
    if checkpoint != "best" and not checkpoint.isdigit():
        raise ConfigError(f"--checkpoint={checkpoint}: expected newest, best or a number of steps")
    if not (model / "checkpoints").is_dir():
        raise ConfigError(f"--checkpoint={checkpoint}: {model} is not a --workdir of `svilm train` with checkpoints")
    return model / "checkpoints" / checkpoint
