"""The `svilm eval` command: runs evaluators on a trained model."""

import argparse
import dataclasses
from pathlib import Path

from svilm_jax.checkpoints import load
from svilm_jax.cli.arguments import MODEL, add_checkpoint, checkpoint_path
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import USED_BY_EVAL, apply_overrides, check_overrides_used, read_config
from svilm_jax.cli.run_files import report_failures
from svilm_jax.evaluation import Encoder, build_evaluators, evaluate, format_table
from svilm_jax.evaluation.metrics_file import write_metrics
from svilm_jax.filesystem.output_paths import check_output_file

OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm eval`."""
    parser.epilog = f"{OVERRIDES_HELP}. example: svilm eval runs/demo --config.input.dataset=runs/data/moving_shapes"
    parser.add_argument("workdir", type=Path, help=MODEL)
    add_checkpoint(parser)
    parser.add_argument("--config", metavar="FILE[:ARG]", help="take evaluators and dataset from this config instead")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the metrics to this JSON file")


def run(args: argparse.Namespace) -> int:
    """Evaluates a model with the evaluators of its own config, or of another one.

    Returns:
      The exit status: 0, or 1 if an evaluator failed.
    """
    check_output_file(args.out)
    loaded = load(checkpoint_path(args.workdir, args.checkpoint))
    given, overrides = args.config, args.overrides
    config = read_config(given, overrides) if given else apply_overrides(loaded.config, overrides)
    check_overrides_used(args.overrides, config, USED_BY_EVAL, "eval", kept=loaded.config)
    # The model is that of the checkpoint; dataset and evaluators may differ.
    config = dataclasses.replace(config, model=loaded.config.model, task=loaded.config.task)
    encoder = Encoder(loaded.model, config, loaded.tokenizer)
    evaluation = evaluate(encoder, build_evaluators(config))
    print(format_table(evaluation.metrics))
    if args.out is not None:
        write_metrics(args.out, evaluation.metrics)
    return report_failures(evaluation.failed)
