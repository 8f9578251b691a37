"""The `svilm train` command: trains from a config, evaluates at the end and writes the metrics."""

import argparse
import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from svilm_jax.checkpoints.metadata import write_selection
from svilm_jax.checkpoints.train_state import StateSpec
from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import check_overrides_hold, read_config
from svilm_jax.cli.error_boundary import failure
from svilm_jax.cli.run_files import DECIDED, EXIT_FAILED, open_workdir, report_failures
from svilm_jax.config import Config
from svilm_jax.errors import EXIT_STOPPED
from svilm_jax.evaluation import Encoder, Metric, Unit, build_evaluators, evaluate, format_table
from svilm_jax.evaluation.metrics_file import write_metrics
from svilm_jax.models.parameters import Params, bind
from svilm_jax.parallel import initialize_distributed, is_lead_process, make_mesh
from svilm_jax.parallel.lost_processes import leave_processes, wait_for_verdict
from svilm_jax.training.compilation_cache import set_compilation_cache
from svilm_jax.training.initialization import resolve_init
from svilm_jax.training.loop import CONSOLE, train
from svilm_jax.training.metric_writers import MetricWriters, open_writers
from svilm_jax.training.preemption import Stopped, StopSignals
from svilm_jax.training.run_record import recorded_run
from svilm_jax.training.workdir import held_workdir

OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm train`."""
    parser.epilog = f"{OVERRIDES_HELP}. example: svilm train --config=pretrain/demo --workdir=runs/demo"
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]", help=CONFIG)
    parser.add_argument("--workdir", required=True, type=Path, help="folder for checkpoints, metrics and curves")
    hosts = parser.add_argument_group(
        "several processes", "found under SLURM, MPI and torchrun, on TPU pods and on GKE; set by hand elsewhere"
    )
    hosts.add_argument("--coordinator", default="", metavar="HOST:PORT", help="address of process 0")
    hosts.add_argument("--processes", type=int, default=0, metavar="N", help="number of processes")
    hosts.add_argument("--process", type=int, default=-1, metavar="I", help="index of this process, from 0")


def run(args: argparse.Namespace) -> int:
    """Trains, evaluates at the end, and writes `metrics.json` as the last file.

    Returns:
      The exit status: 0, 1 if an evaluator failed, 75 if a signal stopped the run after a save.
    """
    with StopSignals() as signals:
        try:
            config = read_config(args.config, args.overrides)
            # Before anything looks for devices.
            initialize_distributed(
                args.coordinator,
                args.processes,
                args.process,
                config.train.lost_process_seconds,
                run=str(args.workdir),
            )
            command = ["svilm", "train", f"--config={args.config}", *args.overrides]
            status = _train(config, args.overrides, command, args.workdir, signals)
        except Stopped as stopped:
            # Only one of several processes may have received a signal, outside of training.
            leave_processes("" if signals.agreed else str(stopped), EXIT_STOPPED)
            print(stopped, file=sys.stderr)
            signals.settle()
            return EXIT_STOPPED
        except jax.errors.JaxRuntimeError as error:
            wait_for_verdict()  # a collective fails at once if a process is lost, with a less specific message
            leave_processes(str(error), EXIT_FAILED)
            raise
        except BaseException as error:
            known = failure(error, "train")
            leave_processes(str(error) or type(error).__name__, known.status if known else EXIT_FAILED)
            raise
        leave_processes()
        return status


def _train(
    config: Config, overrides: Sequence[str], command: Sequence[str], workdir: Path, signals: StopSignals
) -> int:
    resolved = resolve_init(config)
    check_overrides_hold(overrides, config, resolved.config, DECIDED)
    config, tokenizer = resolved.config, resolved.tokenizer
    set_compilation_cache(config.train.compilation_cache)
    mesh = make_mesh(config.mesh)
    evaluators = build_evaluators(config)
    started = time.monotonic()

    def measure(params: Params, spec: StateSpec) -> Mapping[str, float]:
        model = bind(spec.graphdef, spec.abstract, params)
        frequent = {name: evaluators[name] for name in config.train.evaluators or evaluators}
        return evaluate(Encoder(model, config, tokenizer, mesh), frequent).scalars

    def accepted(start: int, total: int) -> MetricWriters | None:
        if not is_lead_process():
            return None
        open_workdir(workdir, config, command)
        record.start(start, total)
        writers = open_writers(config, workdir, start, CONSOLE)
        stack.callback(lambda: writers.close(hurry=signals.received is not None))
        opened.append(writers)
        return writers

    opened: list[MetricWriters] = []
    with held_workdir(workdir), recorded_run(workdir) as record, contextlib.ExitStack() as stack:
        with signals.deferred():
            result = train(config, workdir, tokenizer, mesh, measure, resolved.loaded, signals, accepted)
        signals.check()
        model = bind(result.structure.graphdef, result.structure.abstract, result.params)
        evaluation = evaluate(Encoder(model, config, tokenizer, mesh), evaluators)
        record.status = EXIT_FAILED if evaluation.failed else 0
        if not is_lead_process():
            return record.status
        print(format_table(evaluation.metrics))
        checkpoint = workdir / "checkpoints" / str(result.selected)
        block = evaluation.scalars.get("grounding/block")
        if block is not None and checkpoint.is_dir():
            write_selection(checkpoint, int(block))
        for writers in opened:
            writers.write_final(result.step, evaluation.scalars)
        seconds = time.monotonic() - started
        training = [
            Metric("train/steps", result.step, Unit.STEPS),
            Metric("train/seconds", seconds, Unit.SECONDS, "total seconds, including evaluation"),
        ]
        if config.train.best.metric:
            training.append(Metric("train/best_step", result.selected, Unit.STEPS))
        write_metrics(workdir / "metrics.json", [*evaluation.metrics, *training])
    return report_failures(evaluation.failed)
