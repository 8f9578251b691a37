"""Training loop: evaluate, save, step and log, in this order in every iteration.

Evaluation and saving see the state before the step, so that both refer to the same number of steps, and a checkpoint
holds the data position that belongs to its parameters: a run interrupted anywhere resumes exactly.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from svilm_jax.checkpoints.errors import reading_errors
from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.checkpoints.metadata import check_same_model, check_same_tokenizer, make_meta
from svilm_jax.checkpoints.train_state import StateSpec, TrainState, init_state, make_state_spec, with_params
from svilm_jax.config import Config, ConfigError
from svilm_jax.errors import EXIT_DIVERGED, UserError
from svilm_jax.inference import TrainedModel
from svilm_jax.models.parameters import Params, count
from svilm_jax.objectives import build_objectives
from svilm_jax.parallel import HostConsensus, HostRequest, check_replication, is_lead_process, to_global_batch
from svilm_jax.profiling.step_trace import StepTrace
from svilm_jax.profiling.throughput import Throughput
from svilm_jax.text.tokenizers import Tokenizer
from svilm_jax.training.freezing import frozen, scale_by_group
from svilm_jax.training.initialization import initial_params
from svilm_jax.training.loss import Metrics
from svilm_jax.training.metric_writers import MetricWriters, check_writers, open_writers
from svilm_jax.training.optimizer import make_optimizer, make_schedule
from svilm_jax.training.parameter_table import parameter_table
from svilm_jax.training.preemption import Stopped, StopSignals
from svilm_jax.training.selection import Selection, check_selection
from svilm_jax.training.step import check_batch, check_step, fit_to_mesh, make_step
from svilm_jax.training.task_input import check_sentences, open_input, total_steps
from svilm_jax.training.watchdog import Watchdog

log = logging.getLogger(__name__)

CONSOLE = ("loss/total", "loss/global_contrast", "loss/spatial_grounding", "loss/temporal_grouping", "clips_per_second")


class NonFiniteError(UserError, FloatingPointError):
    """A non-finite loss or gradient; the message names the step and the cause."""

    exit_status = EXIT_DIVERGED  # a sweep continues after a trial that diverges, but ends at a mistake of the user


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """End of training.

    Attributes:
      step: steps taken.
      params: parameters to evaluate (averaged, if kept): of the best checkpoint, or of the last step.
      structure: of the state.
      selected: step of `params`.
    """

    step: int
    params: Params
    structure: StateSpec
    selected: int


def train(
    config: Config,
    workdir: Path,
    tokenizer: Tokenizer,
    mesh: Mesh,
    evaluate: Callable[[Params, StateSpec], Mapping[str, float]] | None = None,
    loaded: TrainedModel | None = None,
    signals: StopSignals | None = None,
    accepted: Callable[[int, int], MetricWriters | None] = lambda start, total: None,
) -> TrainResult:
    """Trains for the steps of `config.train`, from the newest checkpoint of `workdir` if there is one.

    Args:
      config: the resolved config.
      workdir: folder of checkpoints and metrics.
      tokenizer: tokenizer of the texts.
      mesh: device mesh.
      evaluate: called every `config.train.eval_every` steps.
      loaded: initial model of a run whose `workdir` holds no checkpoint; None: random parameters.
      signals: of the caller, inside its `deferred`; None: watched here.
      accepted: called once all checks have passed, before anything is written to `workdir`, with the steps that are
        done already and the total. It may return the writers of the metrics, which its caller then closes.

    Raises:
      ConfigError, InputError, CheckpointError: see there.
      NonFiniteError: the loss or a gradient is not finite; nothing of that step is saved.
      Stopped: after a stop signal, once the state is on disk.
    """
    if signals is None:
        with StopSignals() as signals, signals.deferred():
            return train(config, workdir, tokenizer, mesh, evaluate, loaded, signals, accepted)
    settings = config.train
    check_writers(config)
    objectives = build_objectives(config.objectives, config)
    config = fit_to_mesh(config, mesh)
    check_step(config, objectives, mesh)
    check_selection(config)
    data = open_input(config, tokenizer, 0, mesh)
    try:
        check_batch(config, objectives, data.steps_per_epoch)
        check_sentences(data, objectives)
    except ConfigError:
        data.close()
        raise
    total = total_steps(settings, data)
    schedule = make_schedule(config.optimizer, total)
    group_scales = scale_by_group(config.init, None if loaded is None else loaded.fresh)
    optimizer = make_optimizer(config.optimizer, total, group_scales)
    checkpoints = Checkpoints(workdir, settings.max_to_keep, settings.best)
    meta = make_meta(config, tokenizer)
    pace = Throughput(config)  # before the mesh is set: it may time a device on its own
    with jax.set_mesh(mesh), Watchdog(settings.watchdog_minutes) as watchdog:
        structure = make_state_spec(config, tokenizer.vocab_size, tokenizer.pad_id, optimizer, mesh)
        shapes, shardings = structure.shapes.params, structure.shardings.params
        frozen(shapes, config.init.freeze)  # refuses names that no parameter has
        replicated = check_replication(shapes, shardings, mesh, config.mesh.max_replicated_fraction)
        table = parameter_table(shapes, shardings)
        log.info("parameters on %s:\n%s", dict(mesh.shape), table)
        log.info("%d parameters, %.1f %% of them replicated", count(shapes), 100 * replicated)

        def check(saved: dict[str, Any]) -> None:
            check_same_model(saved["config"], config, workdir)
            check_same_tokenizer(saved, meta, workdir)
            data.check_state(saved["data"])

        start, found = 0, checkpoints.restore_newest(structure, check)
        if found is not None:
            start, state = found
            if start > total:
                raise ConfigError(
                    f"{workdir} is at step {start}, beyond the {total} steps of this config (config.train.steps, or "
                    "config.train.epochs): increase them, or choose a new --workdir"
                )
            signals.kept = f"the checkpoint of step {start} is whole"
            data.close()
            data = open_input(config, tokenizer, start, mesh)
            log.info("resuming from step %d", start)
        else:
            state = init_state(config, tokenizer.vocab_size, optimizer, structure)
            if loaded is not None:
                state = with_params(state, initial_params(state.params, loaded, config))
        trace = StepTrace(settings.profile, workdir, start, total)
        given = accepted(start, total)
        checkpoints.begin()
        selection = Selection(settings.best, settings.eval_every, checkpoints.best())
        step_function = make_step(config, structure, objectives, optimizer, schedule)
        writer = given or open_writers(config, workdir, start, CONSOLE) if is_lead_process() else None
        if writer:
            (workdir / "parameters.txt").write_text(table + "\n", encoding="utf-8")
        agreement = HostConsensus(mesh)
        pending: Metrics | None = None
        saved, saved_at = None, time.monotonic()
        bar = tqdm(
            total=total, initial=start, desc="training", unit="step", mininterval=1.0, disable=not is_lead_process()
        )
        try:
            for step in range(start, total + 1):
                # 1. Evaluate the parameters after exactly `step` steps. The caller evaluates those of the result.
                value = None
                if evaluate and step > start and selection.evaluates(step, total):
                    with pace.paused(), watchdog.phase("evaluation", step):
                        measured = evaluate(_shown(state), structure)
                        if writer:
                            writer.write_scalars(step, measured)
                    value = selection.record(step, measured)
                over = step == total or selection.is_over(step)
                # 2. Save. First verify the previous step: non-finite values never reach the disk.
                late = 0 < settings.checkpoint_seconds < time.monotonic() - saved_at
                asked = agreement.ask(
                    HostRequest.STOP if signals.received else HostRequest.SAVE if late else HostRequest.NOTHING
                )
                due = over or step % settings.checkpoint_every == 0 or asked > HostRequest.NOTHING
                if (due or value) and step > start:
                    _check_finite(pending, step - 1, state.params)
                    with pace.paused(), watchdog.phase("saving", step):
                        checkpoints.save(step, state, {**data.state(), "step": step}, meta, value)
                    if saved is not None:  # which is complete, or this save would not have started
                        signals.kept = f"the checkpoint of step {saved} is whole"
                    saved, saved_at = step, time.monotonic()
                if over:
                    break
                if asked is HostRequest.STOP:
                    by = f"by {signals.received.name}" if signals.received else "by a signal to another process"
                    signals.agreed = True
                    raise Stopped(f"stopped {by} at step {step}: the same command resumes from it")
                # 3. Step. Only now does the data position advance.
                with trace.step(step + 1, state):
                    with pace.waiting(), watchdog.phase("waiting for data", step):
                        rows = next(data)
                    state, metrics = step_function(state, to_global_batch(rows, mesh))
                if trace.ends_with(step + 1):
                    with pace.paused(), watchdog.phase("writing a profile", step):
                        trace.close(metrics)
                # 4. Log, one step late: reading the metrics of the previous step does not keep the device waiting.
                with watchdog.phase("computing", step - 1):
                    _check_finite(pending, step - 1, state.params)
                pending = metrics
                bar.update()
                pace.tick()
                bar.set_postfix_str(str(pace), refresh=False)
                if (step + 1) % settings.log_every == 0 or step + 1 == total:
                    scalars = {name: float(value) for name, value in metrics.items() if np.ndim(value) == 0}
                    if writer:
                        writer.write_scalars(step + 1, {**scalars, **pace.scalars(), **data.scalars(step + 1)})
            if step < total:
                log.info("training ends at step %d: %d evaluations without improvement", step, settings.best.patience)
            selected = step if selection.best is None else selection.best[0]
            if selected != step:
                log.info("step %d is the best, by %s", selected, settings.best.metric)
                folder = checkpoints.folder / str(selected)
                with watchdog.phase("reading the best checkpoint", step), reading_errors(folder):
                    checkpoints.wait()
                    jax.tree.map(lambda array: array.delete(), state)  # it is saved, and its memory may be needed
                    state = checkpoints.restore(selected, structure)
        finally:
            bar.close()
            data.close()
            with watchdog.phase("finishing the last save", total):
                checkpoints.close()
            trace.close()
            if writer and not given:
                writer.close(hurry=signals.received is not None)
    signals.kept = f"training is done, and the checkpoint of step {step} is whole"
    if data.failures:
        log.warning("%d clips could not be used: %s", len(data.failures), "; ".join(data.failures.values()))
    return TrainResult(step, _shown(state), structure, selected)


def _shown(state: TrainState) -> Params:
    return state.params if state.ema is None else state.ema


def _check_finite(metrics: Metrics | None, step: int, params: Params) -> None:
    """Raises NonFiniteError naming the losses, or else the parameters whose gradients are not finite."""
    if metrics is None or np.isfinite(metrics["loss/total"]) and np.isfinite(metrics["norm/gradient"]):
        return
    culprits = [n for n, v in metrics.items() if n.startswith("loss/") and n != "loss/total" and not np.isfinite(v)]
    what = "the loss of " + ", ".join(name.removeprefix("loss/") for name in culprits)
    if not culprits:
        names = [
            jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in jax.tree_util.tree_leaves_with_path(params)
        ]
        squares = np.asarray(metrics["gradient_squares"])
        broken = [name for name, value in zip(names, squares, strict=True) if not np.isfinite(value)]
        what = "the gradient of " + (", ".join(broken[:8]) or "all parameters together (their norm overflows)")
    raise NonFiniteError(
        f"step {step}: {what} is not finite. The latest checkpoint precedes it; lower "
        "config.optimizer.learning_rate, or set config.optimizer.clip_norm, and run again"
    )
