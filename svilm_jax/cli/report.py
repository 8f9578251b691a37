"""The `svilm report` command: writes the HTML report of a run."""

import argparse
from pathlib import Path

from svilm_jax.checkpoints import load
from svilm_jax.cli.run_files import environment
from svilm_jax.config import ConfigError
from svilm_jax.evaluation import Encoder
from svilm_jax.evaluation.metrics_file import read_scalars
from svilm_jax.filesystem.json_reader import read_document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm report`."""
    parser.epilog = "example: svilm report runs/demo"
    parser.add_argument("workdir", type=Path, help="--workdir of `svilm train`")


def run(args: argparse.Namespace) -> None:
    """Writes the page and prints its path.

    Raises:
      ConfigError: a run without clips and texts, such as a localizer.
    """
    from svilm_jax.report import write_report

    workdir = args.workdir
    best = read_scalars(workdir / "metrics.json").get("train/best_step")  # the metrics are those of this checkpoint
    loaded = load(workdir if best is None else workdir / "checkpoints" / str(int(best)))
    if loaded.config.task == "localization":
        raise ConfigError(f"{workdir}: a localizer has no report; its metrics are in {workdir / 'metrics.json'}")
    encoder = Encoder(loaded.model, loaded.config, loaded.tokenizer)
    file = workdir / "environment.json"
    known = read_document(file) if file.is_file() else environment([])
    print(write_report(workdir, encoder, loaded.config, known))
