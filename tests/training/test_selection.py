"""Tests of the best checkpoint by validation and of early stopping, also over an interruption."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.checkpoints.errors import CheckpointError
from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.checkpoints.reading import best_step
from svilm_jax.config import BestConfig, ConfigError
from svilm_jax.models.parameters import parameters
from svilm_jax.parallel import make_mesh
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training.loop import train
from svilm_jax.training.selection import Selection, check_selection
from tests.tiny import tiny_config

METRIC = "validation/t2v_R1"

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


@pytest.fixture(autouse=True)
def counting_step(monkeypatch):
    """A step without a model, whose parameters tell how many were taken; loop, data and checkpoints are real."""

    def make_step(config, structure, *_):
        def step(state, batch):
            params = jax.tree.map(lambda p: p + 1, state.params)
            metrics = {"loss/total": jnp.float32(0), "norm/gradient": jnp.float32(0)}
            return dataclasses.replace(state, step=state.step + 1, params=params), metrics

        return jax.jit(step, donate_argnums=0, out_shardings=(structure.shardings, None))

    monkeypatch.setattr("svilm_jax.training.loop.make_step", make_step)


def selection(best=None, **options):
    return Selection(BestConfig(**{"metric": METRIC, **options}), 2, best)


def test_the_first_of_equally_good_checkpoints_is_the_best():
    chosen = selection()
    for step, value in ((2, 0.2), (4, 0.5), (6, 0.5), (8, 0.4)):
        assert chosen.record(step, {METRIC: value, "other": 1.0}) == {METRIC: value}
    assert chosen.best == (4, 0.5)
    chosen = selection(mode="min")
    for step, value in ((2, 0.2), (4, 0.1), (6, 0.1), (8, 0.4)):
        chosen.record(step, {METRIC: value})
    assert chosen.best == (4, 0.1)


def test_patience_counts_evaluations_since_the_best_also_after_a_restart():
    chosen = selection(patience=2)
    assert not chosen.is_over(100)  # nothing is known yet
    chosen.record(4, {METRIC: 0.5})
    assert [chosen.is_over(step) for step in (4, 6, 7, 8)] == [False, False, False, True]
    assert selection(best=(4, 0.5), patience=2).is_over(8)
    assert not selection(best=(4, 0.5)).is_over(1000)


def test_evaluations_of_the_last_step():
    assert [selection().evaluates(step, 5) for step in (1, 2, 4, 5)] == [False, True, True, True]
    assert [selection(metric="").evaluates(step, 5) for step in (2, 5)] == [True, False]
    assert selection(metric="").record(2, {METRIC: 1.0}) is None


def test_a_metric_that_no_evaluator_yields_is_named(caplog):
    with pytest.raises(
        ConfigError, match=r"best\.metric='validation/t2v_R1': not among .*did you mean 'validation/t2v_R5'"
    ):
        selection().record(2, {"validation/t2v_R5": 0.5})
    found = selection(best=(2, 0.5))
    assert found.record(4, {}) is None  # its evaluator failed: training goes on
    assert "step 4: no value" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.evaluators": ("retreival",)}, "no evaluator 'retreival'; did you mean 'retrieval'"),
        ({"train.eval_every": 0}, "nothing measures it during training; set config.train.eval_every"),
        ({"train.best.mode": "least"}, "expected one of 'max', 'min'"),
    ],
)
def test_a_selection_that_cannot_be_made_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_selection(run_config("nowhere", **changes))


def run_config(dataset, **changes):
    table = {"evaluators.retrieval": {"split": "validation"}, "train.best.metric": METRIC, "train.eval_every": 1}
    table |= {"train.max_to_keep": 1, "train.steps": 6, "train.checkpoint_every": 100}
    return tiny_config(str(dataset), **{**table, **changes})


VALUES = {1: 0.1, 2: 0.4, 3: 0.4, 4: 0.3, 5: 0.2, 6: 0.3}  # step -> value; the best is that of step 2


def trained(config, workdir, crash_at=None):
    """Trains with these values as evaluations; stopped by an error of the evaluation of a step."""
    seen = []

    def evaluate(params, structure):
        step = len(seen) + 1 + (0 if first is None else first)
        if step == crash_at:
            raise KeyboardInterrupt
        seen.append(step)
        return {METRIC: VALUES[step]}

    checkpoints = Checkpoints(workdir, keep=None)
    first = checkpoints.latest()
    checkpoints.close()
    tokenizer = load_tokenizer(config.tokenizer.path)
    return train(config, workdir, tokenizer, make_mesh(config.mesh, jax.devices()[:1]), evaluate)


def steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.services
def test_the_best_checkpoint_is_kept_and_chosen_whatever_happens_in_between(moving_shapes, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = run_config(moving_shapes)
    result = trained(config, whole)
    assert (result.step, result.selected) == (6, 2)
    assert steps(whole) == [2, 6]  # the newest one, and the best beside it
    best, newest = load(whole / "checkpoints" / "best"), load(whole)
    assert (best.step, newest.step) == (2, 6)
    same(parameters(best.model), result.params)

    with pytest.raises(KeyboardInterrupt):
        trained(config, broken, crash_at=5)
    assert steps(broken) == [2, 4]
    again = trained(config, broken)
    assert (again.step, again.selected, steps(broken)) == (6, 2, [2, 6])
    same(again.params, result.params)
    same(parameters(load(broken).model), parameters(newest.model))

    # Two evaluations after the best one, with a patience of two: at the end of this command, and of the same again.
    patient = dataclasses.replace(config, train=dataclasses.replace(config.train, best=BestConfig(METRIC, "max", 2)))
    early = tmp_path / "early"
    for _ in range(2):
        stopped = trained(patient, early)
        assert (stopped.step, stopped.selected, steps(early)) == (4, 2, [2, 4])
        same(stopped.params, result.params)


def test_a_run_without_a_selection_has_no_best_checkpoint(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"selected no best checkpoint, as config\.train\.best\.metric was not set"
    ):
        best_step(tmp_path, BestConfig())
    with pytest.raises(CheckpointError, match="none was evaluated yet"):
        best_step(tmp_path, BestConfig(METRIC))
