"""Tests of stop signals: recorded where a save follows, repeated Ctrl-C, and signals ignored at startup."""

import os
import signal
import types

import pytest

from svilm_jax.errors import STOP_SIGNALS
from svilm_jax.evaluation import evaluate
from svilm_jax.training import preemption as module
from svilm_jax.training.preemption import Stopped, StopSignals


class Left(BaseException):
    """Stands for the end of the process."""


def leave(message):
    raise Left(message)


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def python_handles_ctrl_c():
    """A test run started in the background ignores it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_remembered_and_further_ones_change_nothing(number):
    with StopSignals(leave) as signals:
        signals.kept = "step 4 is whole"
        with signals.deferred():
            send(number, signal.SIGTERM, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
            assert signals.received is number
        with pytest.raises(Stopped, match=f"stopped by {number.name}: step 4 is whole; the same command resumes"):
            signals.check()
    assert signal.getsignal(number) is signal.SIG_DFL


def test_outside_of_training_a_signal_stops_at_once():
    with StopSignals(leave) as signals:
        with pytest.raises(Stopped, match="stopped by SIGUSR1: nothing is saved yet"):
            send(signal.SIGUSR1)
        send(signal.SIGTERM)  # while it ends
        assert signals.received is signal.SIGUSR1


def test_what_handles_errors_does_not_take_a_stop_for_one():
    """A signal may arrive in an evaluator, a config file or a checkpoint, whose failures are handled."""
    signaled = types.SimpleNamespace(run=lambda encoder: iter([("x", float(send(signal.SIGTERM) or 1))]))
    with StopSignals(leave) as signals, pytest.raises(Stopped):
        evaluate(None, {"first": signaled})
    assert signals.received is signal.SIGTERM


def test_only_a_second_ctrl_c_ends_without_saving(monkeypatch, capfd):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with StopSignals(leave) as signals, signals.deferred():
        signals.kept = "step 4 is whole"
        send(signal.SIGTERM)
        now[0] += 10
        send(signal.SIGINT)
        now[0] += 0.3
        send(signal.SIGINT)  # a wrapper passes on what the terminal sent to all
        assert "Ctrl-C again ends at once" in capfd.readouterr().err
        now[0] += 10
        with pytest.raises(Left, match="interrupted twice, ended at once: step 4 is whole"):
            send(signal.SIGINT)


def test_once_settled_nothing_ends_the_process_on_its_way_out():
    with StopSignals(leave) as signals, pytest.raises(Stopped):
        send(signal.SIGTERM)
    with StopSignals(leave) as signals:
        signals.settle()
    send(*(number for number in STOP_SIGNALS if number != signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals(leave) as signals, signals.deferred():
        send(signal.SIGHUP)
        assert signals.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
