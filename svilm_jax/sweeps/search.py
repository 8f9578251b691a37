"""Search of hyperparameters with Optuna: a study suggests trials and gives up those that fall behind.

The study is kept in `study.log` of the sweep folder (Optuna's journal), which only the controller writes. Trials write
their ordinary `metrics.jsonl`; what is reported to the study is derived from their files, so that a controller that was
killed continues with the same code that it runs otherwise.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.config import ConfigError, nearest
from svilm_jax.evaluation.metric import scalars
from svilm_jax.evaluation.metrics_file import read_metrics
from svilm_jax.sweeps.attempts import State, read_history
from svilm_jax.sweeps.controller import is_due
from svilm_jax.sweeps.plan import Trial

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState
except ModuleNotFoundError as error:
    raise ConfigError("a search needs Optuna: pip install 'svilm_jax[search]'") from error

JOURNAL = "study.log"
SEED = "train.seed"
_CHANGES, _STATE = "changes", "state"  # attributes of a trial of the study


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a search.

    Attributes:
      trials: number of trials of the study.
      metric: name of the metric, in `metrics.json` and, if evaluated during training, in `metrics.jsonl`.
      maximize: whether larger values are better.
      seeds: number of trainings of one trial of the study, whose value is their mean; they follow one another, and the
        trial may be given up between two of them. 1: one training, which may be given up after any evaluation.
      retries: how often a failed training is run again.
    """

    trials: int
    metric: str
    maximize: bool = True
    seeds: int = 1
    retries: int = 1


class OptunaSearch:
    """Trials that a study suggests."""

    def __init__(
        self,
        folder: Path,
        suggest: Callable[[Any], Mapping[str, Any]],
        make: Callable[[Mapping[str, Any]], Trial],
        options: Options,
        sampler: Any = None,
        pruner: Any = None,
    ):
        """Opens the study of a sweep folder, whose lock the caller holds.

        Args:
          folder: of the sweep.
          suggest: `search(trial)` of the config file: trial of Optuna -> dotted key -> value.
          make: resolves the changes of a trial; raises ConfigError.
          options: of the search.
          sampler: of Optuna; None: TPE.
          pruner: of Optuna; None: the median pruner.
        """
        self._folder, self._suggest, self._make, self._options = folder, suggest, make, options
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = folder / JOURNAL
        direction = "maximize" if options.maximize else "minimize"
        journal.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)  # left by a controller that was killed
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="sweep",  # the seed of Hyperband
            direction=direction,
            pruner=pruner or optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )
        if (known_direction := self._study.direction.name.lower()) != direction:
            raise ConfigError(f"{journal}: the study was started to {known_direction} its metric; give another --out")
        # A seed that depends on what is known: the same one would suggest the first trials again after a restart.
        known = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = sampler or optuna.samplers.TPESampler(seed=known, constant_liar=True)
        self._members: dict[int, list[Trial]] = {}
        for frozen in self._study.get_trials(deepcopy=False):
            if _CHANGES in frozen.user_attrs:
                self._members[frozen.number] = self._seeded(frozen.user_attrs[_CHANGES])
            elif frozen.state is TrialState.RUNNING:  # its controller was killed before it had suggested everything
                self._study.tell(frozen.number, state=TrialState.FAIL)

    @property
    def study(self) -> "optuna.Study":
        """The study, for plots and statistics."""
        return self._study

    def planned(self) -> list[Trial]:
        """Returns all trials that the study has suggested so far."""
        return [trial for members in self._members.values() for trial in members]

    def next(self, active: set[str]) -> list[Trial]:
        """Returns the seeds of the trial of the study to run next, the one to start first; [] if there is none."""
        for frozen in self._running():
            if trial := self._advance(frozen, active):
                return [trial]
        while len(self._members) < self._options.trials:
            suggested = self._study.ask()
            changes = dict(self._suggest(suggested))
            members = self._seeded(changes)
            twin = next((n for n, other in self._members.items() if other[0].id == members[0].id), None)
            suggested.set_user_attr(_CHANGES, json.loads(json.dumps(changes)))
            self._members[suggested.number] = members
            if twin is None:
                return members
            self._copy(twin, suggested.number)
        return []

    def hopeless(self, active: set[str]) -> set[str]:
        """Reports new values of the active trials; returns those that the study gives up."""
        given_up = {id for id in active if self.is_pruned(id)}
        if self._options.seeds > 1:
            return given_up
        for frozen in self._running():
            (member,) = self._members[frozen.number]
            if member.id not in active:
                continue
            for step, value in self._values(member):
                self._report(frozen, step, value)
            if self._trial(frozen).should_prune():
                self._study.tell(frozen.number, state=TrialState.PRUNED)
                given_up.add(member.id)
        return given_up

    def is_pruned(self, id: str) -> bool:
        """Returns whether the study has given up a trial."""
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)):
            if any(member.id == id for member in self._members.get(frozen.number, ())):
                return True
        return False

    def _advance(self, frozen: FrozenTrial, active: set[str]) -> Trial | None:
        """Tells the study what is known of one of its trials; returns the training of it to start now, if any."""
        values: list[float] = []
        for place, member in enumerate(self._members[frozen.number]):
            if member.id in active:
                return None
            history = read_history(self._folder / member.id)
            if history.state is State.DONE:
                values.append(self._value(member))
                if self._options.seeds > 1:
                    self._report(frozen, place, sum(values) / len(values))
            elif place and self._trial(frozen).should_prune():
                self._study.tell(frozen.number, state=TrialState.PRUNED)
                return None
            elif is_due(history, self._options.retries):
                return member
            else:  # failed for good, or diverged: the same to Optuna
                self._trial(frozen).set_user_attr(_STATE, history.state.value)
                self._study.tell(frozen.number, state=TrialState.FAIL)
                return None
        self._study.tell(frozen.number, sum(values) / len(values))
        return None

    def _copy(self, twin: int, number: int) -> None:
        """Ends a trial that repeats another one: with its value if it has one."""
        known = self._study.get_trials(deepcopy=False)[twin]
        if known.state is TrialState.COMPLETE:
            self._study.tell(number, known.value)
        else:
            self._study.tell(number, state=TrialState.FAIL)

    def _running(self) -> list[FrozenTrial]:
        return [
            frozen
            for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if frozen.number in self._members
        ]

    def _trial(self, frozen: FrozenTrial) -> "optuna.Trial":
        return optuna.Trial(self._study, frozen._trial_id)

    def _report(self, frozen: FrozenTrial, step: int, value: float) -> None:
        """Reports a value, unless one of this step is known: after a resume, only later steps count."""
        trial = self._trial(frozen)
        if step not in self._study.get_trials(deepcopy=False)[frozen.number].intermediate_values:
            trial.report(value, step)

    def _seeded(self, changes: Mapping[str, Any]) -> list[Trial]:
        if self._options.seeds == 1:
            return [self._make(changes)]
        if SEED in changes:
            raise ConfigError(f"search(trial) changes {SEED}, which --seeds={self._options.seeds} sets: remove one")
        return [self._make({**changes, SEED: seed}) for seed in range(self._options.seeds)]

    def _value(self, trial: Trial) -> float:
        metrics, name = read_metrics(self._folder / trial.id / "metrics.json"), self._options.metric
        values = scalars(metrics)
        if name not in values:
            known = ", ".join(sorted(values))
            raise ConfigError(f"--metric={name}: trial {trial.id} has no such metric{nearest(name, values)}; {known}")
        better = next((metric.higher_is_better for metric in metrics if metric.name == name), None)
        if better is not None and better != self._options.maximize:
            which, remedy = ("larger", "leave out --minimize") if better else ("smaller", "add --minimize")
            raise ConfigError(f"--metric={name}: {which} values are better; {remedy}, and give another --out")
        return values[name]

    def _values(self, trial: Trial) -> list[tuple[int, float]]:
        """Returns (step, value) of the evaluations during a training so far."""
        file = self._folder / trial.id / "metrics.jsonl"
        found = []
        for line in file.read_bytes().split(b"\n")[:-1] if file.is_file() else ():
            if self._options.metric.encode() not in line:
                continue
            try:
                record = json.loads(line)
                found.append((int(record["step"]), float(record[self._options.metric])))
            except (ValueError, KeyError, TypeError):
                continue
        return found
