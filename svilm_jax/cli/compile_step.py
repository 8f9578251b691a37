"""The `svilm compile` command: ahead-of-time compilation of the train step for a TPU topology without hardware."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.config.constraints import LARGEST, Range, check_number
from svilm_jax.filesystem.output_paths import check_output_file

OVERRIDES = True
BERT_WORDS = 30_522  # vocabulary size assumed if the config names no vocabulary: BERT's [A]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm compile`."""
    parser.epilog = (
        f"{OVERRIDES_HELP}. Exit status 1: the step does not fit. example: svilm compile --config=pretrain/svilm_b "
        "--topology=v5e:16x16 --mesh=fsdp --out=plan.json"
    )
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]", help=CONFIG)
    parser.add_argument(
        "--topology", required=True, metavar="TPU:SHAPE", help="such as v5e:16x16, v5p:4x4x4 or v6e:16x16"
    )
    parser.add_argument("--mesh", default="", metavar="PRESET[:N]", help="overrides config.mesh: fsdp, fsdp_seq:2, ...")
    parser.add_argument("--slices", type=int, default=1, metavar="N", help="number of slices connected by DCN")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the plan to this JSON file")


def run(args: argparse.Namespace) -> int:
    """Prints memory, traffic and a roofline estimate of one train step.

    Returns:
      The exit status: 0, or 1 if the step does not fit the memory of a chip.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before JAX looks for devices: the target is elsewhere
    check_output_file(args.out)
    from svilm_jax.cli.config_file import USED_BY_COMPILE, check_overrides_hold, check_overrides_used, read_config
    from svilm_jax.cli.run_files import DECIDED, EXIT_FAILED, write_json
    from svilm_jax.parallel import named_mesh
    from svilm_jax.profiling.aot import advice, format_plan
    from svilm_jax.training.abstract_step import plan_step
    from svilm_jax.training.initialization import resolve_init

    check_number("--slices", args.slices, Range(1, LARGEST))
    config = read_config(args.config, args.overrides)
    check_overrides_used(args.overrides, config, USED_BY_COMPILE, "compile")
    if args.mesh:
        named = dataclasses.replace(config, mesh=named_mesh(args.mesh, config.mesh))
        check_overrides_hold(args.overrides, config, named, f"--mesh={args.mesh} overrides it; give one of the two")
        config = named
    words = BERT_WORDS
    if config.tokenizer.path or config.init.checkpoint:
        resolved = resolve_init(config)
        check_overrides_hold(args.overrides, config, resolved.config, DECIDED)
        config, words = resolved.config, resolved.tokenizer.vocab_size
    plan = plan_step(config, words, args.topology, args.slices)
    print(format_plan(plan))
    if args.out is not None:
        write_json(args.out, dataclasses.asdict(plan))
    if not plan.fits:
        print(f"svilm compile: {advice(config, plan)}", file=sys.stderr)
        return EXIT_FAILED
    return 0
