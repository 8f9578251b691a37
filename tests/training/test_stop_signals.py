"""Test that a run stopped by each signal of schedulers and terminals saves, ends with status 75 and resumes exactly.

One run of six steps, stopped at five of them, in this process: real signals that arrive inside the training loop, and
a second one while the checkpoint is written.
"""

import os
import signal

import jax
import numpy as np
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.errors import EXIT_STOPPED
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.main import main
from svilm_jax.models.parameters import parameters
from svilm_jax.training import loop

pytestmark = pytest.mark.services

# Before each of five steps; while the step after it is saved.
SENT = [
    ("SIGUSR1", []),
    ("SIGUSR2", []),
    ("SIGTERM", []),
    ("SIGTERM", ["SIGTERM", "SIGTERM"]),  # wrappers forward what the scheduler sends to all processes
    ("SIGINT", ["SIGTERM"]),
]


def train(dataset, workdir):
    return main(["train", f"--config=tests/tiny.py:dataset={dataset}", f"--workdir={workdir}"])


def stopped(dataset, workdir, first, later, monkeypatch):
    """Runs one step, before which the first signal arrives; returns the exit status."""
    original_batch, original_save = loop.to_global_batch, Checkpoints.save

    def batch(*arguments):
        os.kill(os.getpid(), signal.Signals[first])
        return original_batch(*arguments)

    def save(*arguments):
        done = original_save(*arguments)  # which goes on in other threads
        for name in later:
            os.kill(os.getpid(), signal.Signals[name])
        return done

    with monkeypatch.context() as patch:
        patch.setattr(loop, "to_global_batch", batch)
        patch.setattr(Checkpoints, "save", save)
        return train(dataset, workdir)


def test_every_stop_signal_saves_and_the_run_resumes_bit_identically(moving_shapes, tmp_path, monkeypatch, capfd):
    whole, stops = tmp_path / "whole", tmp_path / "stopped"
    assert train(moving_shapes, whole) == 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    for step, (first, later) in enumerate(SENT, start=1):
        capfd.readouterr()
        assert stopped(moving_shapes, stops, first, later, monkeypatch) == EXIT_STOPPED
        assert f"stopped by {first} at step {step}: the same command resumes from it" in capfd.readouterr().err
        assert load(stops).step == step
        assert not (stops / "metrics.json").exists()
    assert train(moving_shapes, stops) == 0
    one, other = load(whole), load(stops)
    assert one.step == other.step == 6
    for a, b in zip(jax.tree.leaves(parameters(one.model)), jax.tree.leaves(parameters(other.model)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert losses(whole) == losses(stops)


def losses(workdir):
    return [(line["step"], line["loss/total"], line["norm/gradient"]) for line in read_lines(workdir / "metrics.jsonl")]
