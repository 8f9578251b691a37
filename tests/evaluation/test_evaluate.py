"""Tests that a failing evaluator contributes no metrics and leaves those of the others unchanged."""

import logging

from svilm_jax.evaluation.evaluate import evaluate


class Task:
    def __init__(self, *metrics, error=None):
        self.metrics, self.error = metrics, error

    def run(self, encoder):
        yield from self.metrics
        if self.error:
            raise self.error


def test_metrics_of_all_that_finish_and_names_of_those_that_do_not(caplog):
    evaluation = evaluate(
        None, {"a": Task(("x", 0.5)), "b": Task(("y", 1.0), error=ValueError("no masks")), "c": Task(("z", 0.0))}
    )
    assert evaluation.scalars == {"x": 0.5, "z": 0.0}
    assert evaluation.failed == {"b": "ValueError: no masks"}
    assert any(record.levelno == logging.ERROR and "evaluator b" in record.message for record in caplog.records)


def test_two_evaluators_may_not_write_the_same_metric():
    evaluation = evaluate(None, {"a": Task(("x", 0.5)), "b": Task(("x", 0.7), ("y", 1.0))})
    assert evaluation.scalars == {"x": 0.5}
    assert "prefix" in evaluation.failed["b"]


def test_numbers_that_are_not_finite_are_a_failure():
    assert "not finite" in evaluate(None, {"a": Task(("x", float("nan")))}).failed["a"]
