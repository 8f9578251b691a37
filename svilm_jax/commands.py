"""Implementations of `svilm train`, `eval`, `compile` and `report`, built on config, mesh, model and evaluators."""

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import jax

from svilm_jax import load
from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import LARGEST, Range, check_number
from svilm_jax.config_file import (
    USED_BY_COMPILE,
    USED_BY_EVAL,
    apply_overrides,
    check_overrides_hold,
    check_overrides_used,
    read_config,
)
from svilm_jax.evaluation import Encoder, build_evaluators, format_table
from svilm_jax.evaluation import evaluate as run_evaluators
from svilm_jax.input.json_reader import read_document
from svilm_jax.models.parameters import Params, bind
from svilm_jax.parallel import is_first, join_hosts, make_mesh, named_mesh
from svilm_jax.parallel.lost_processes import leave_processes, wait_for_verdict
from svilm_jax.training.compilation_cache import set_compilation_cache
from svilm_jax.training.initialization import starting_point
from svilm_jax.training.loop import train as run_training
from svilm_jax.training.signals import Stopped, StopSignals
from svilm_jax.training.state import Structure
from svilm_jax.training.workdir import held_workdir

EXIT_STOPPED = 75  # a signal stopped the run after a save; the same command goes on (EX_TEMPFAIL)
BERT_WORDS = 30_522  # what a plan counts with where a config names no vocabulary [A]
DECIDED = (
    "what config.init.checkpoint or the dataset says counts; to change the model of a checkpoint, "
    "set the same key below config.init.model"
)
EXIT_FAILED = 1  # an evaluator failed; the others' metrics are written


def train(
    config_file: str,
    overrides: Sequence[str],
    workdir: Path,
    coordinator: str = "",
    processes: int = 0,
    process: int = -1,
) -> int:
    """Trains, evaluates at the end, and writes `metrics.json` as the very last thing.

    Args:
      coordinator, processes, process: see `join_hosts`.
    """
    with StopSignals() as signals:
        try:
            config = read_config(config_file, overrides)
            # Before anything looks for devices.
            join_hosts(coordinator, processes, process, config.train.lost_process_seconds)
            command = ["svilm", "train", f"--config={config_file}", *overrides]
            status = _train(config, overrides, command, workdir, signals)
        except Stopped as stopped:
            # One of several processes may be alone with its signal, outside of training.
            leave_processes("" if signals.agreed else str(stopped))
            print(stopped, file=sys.stderr)
            signals.settle()
            return EXIT_STOPPED
        except jax.errors.JaxRuntimeError as error:
            wait_for_verdict()  # a collective fails at once where a process is lost, and says less about it
            leave_processes(str(error))
            raise
        except BaseException as error:
            leave_processes(str(error) or type(error).__name__)
            raise
        leave_processes()
        return status


def _train(
    config: Config, overrides: Sequence[str], command: Sequence[str], workdir: Path, signals: StopSignals
) -> int:
    start = starting_point(config)
    check_overrides_hold(overrides, config, start.config, DECIDED)
    config, tokenizer = start.config, start.tokenizer
    set_compilation_cache(config.train.compilation_cache)
    mesh = make_mesh(config.mesh)
    evaluators = build_evaluators(config)
    started = time.monotonic()

    def measure(params: Params, structure: Structure) -> Mapping[str, float]:
        model = bind(structure.graphdef, structure.abstract, params)
        return run_evaluators(Encoder(model, config, tokenizer, mesh), evaluators).metrics

    def accepted() -> None:
        if is_first():
            _open_workdir(workdir, config, command)

    with held_workdir(workdir):
        with signals.deferred():
            result = run_training(config, workdir, tokenizer, mesh, measure, start.loaded, signals, accepted)
        signals.check()
        model = bind(result.structure.graphdef, result.structure.abstract, result.params)
        evaluation = run_evaluators(Encoder(model, config, tokenizer, mesh), evaluators)
        if not is_first():
            return EXIT_FAILED if evaluation.failed else 0
        print(format_table(evaluation.metrics))
        measured = {**evaluation.metrics, "train/steps": result.step, "train/seconds": time.monotonic() - started}
        _write_json(workdir / "metrics.json", measured)
    return _tell_failures(evaluation.failed)


def evaluate(workdir: Path, config_file: str | None, overrides: Sequence[str], out: Path | None) -> int:
    """Runs evaluators on a checkpoint: those of its own config, or of another one."""
    loaded = load(workdir)
    config = read_config(config_file, overrides) if config_file else apply_overrides(loaded.config, overrides)
    check_overrides_used(overrides, config, USED_BY_EVAL, "eval", kept=loaded.config)
    # The model stays what it was trained to be; dataset and evaluators may be others.
    config = dataclasses.replace(config, model=loaded.config.model, task=loaded.config.task)
    encoder = Encoder(loaded.model, config, loaded.tokenizer)
    evaluation = run_evaluators(encoder, build_evaluators(config))
    print(format_table(evaluation.metrics))
    if out is not None:
        _write_json(out, evaluation.metrics)
    return _tell_failures(evaluation.failed)


def compile_step(
    config_file: str, overrides: Sequence[str], topology: str, mesh: str, slices: int, out: Path | None
) -> int:
    """Compiles the train step for a pod that is not here, and says what it needs; fails where it does not fit."""
    from svilm_jax.training.ahead_of_time import advice, forecast, format_forecast

    check_number("--slices", slices, Range(1, LARGEST))
    config = read_config(config_file, overrides)
    check_overrides_used(overrides, config, USED_BY_COMPILE, "compile")
    if mesh:
        named = dataclasses.replace(config, mesh=named_mesh(mesh, config.mesh))
        check_overrides_hold(overrides, config, named, f"--mesh={mesh} counts; give one of the two")
        config = named
    words = BERT_WORDS
    if config.tokenizer.path or config.init.checkpoint:
        start = starting_point(config)
        check_overrides_hold(overrides, config, start.config, DECIDED)
        config, words = start.config, start.tokenizer.vocab_size
    told = forecast(config, words, topology, slices)
    print(format_forecast(told))
    if out is not None:
        _write_json(out, dataclasses.asdict(told))
    if not told.fits:
        print(f"svilm compile: {advice(config, told)}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def report(workdir: Path) -> int:
    """Writes the page and says where it is."""
    from svilm_jax.report import write_report

    loaded = load(workdir)
    if loaded.config.task != "video_text":
        raise ConfigError(f"{workdir}: a localiser has no page; its metrics are in {workdir / 'metrics.json'}")
    encoder = Encoder(loaded.model, loaded.config, loaded.tokenizer)
    file = workdir / "environment.json"
    known = read_document(file) if file.is_file() else environment([])
    print(write_report(workdir, encoder, loaded.config, known))
    return 0


def environment(command: Sequence[str]) -> dict[str, str]:
    """What ran where: for the report, and for whoever compares two runs."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "av", "svilm_jax")
    return {
        "command": " ".join(command),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}, {jax.process_count()} processes",
        **{name: metadata.version(name) for name in packages},
    }


def _open_workdir(workdir: Path, config: Config, command: Sequence[str]) -> None:
    """Writes down what runs in a workdir, once nothing speaks against the run any more.

    Raises:
      ConfigError: it cannot be written to.
    """
    try:
        (workdir / "metrics.json").unlink(missing_ok=True)  # of an earlier run: it says that all is done
        _write_json(workdir / "config.json", dataclasses.asdict(config))
        _write_json(workdir / "environment.json", environment(command))
    except OSError as error:
        raise ConfigError(f"--workdir={workdir}: cannot be written to ({error.strerror}); choose another") from error


def _tell_failures(failed: Mapping[str, str]) -> int:
    for name, reason in failed.items():
        print(f"evaluator {name} failed: {reason}", file=sys.stderr)
    return EXIT_FAILED if failed else 0


def _write_json(path: Path, document: Mapping[str, object] | Config) -> None:
    """Whole or not at all: written beside, then renamed."""
    beside = path.with_suffix(".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(json.dumps(document, indent=1) + "\n")
    beside.replace(path)
