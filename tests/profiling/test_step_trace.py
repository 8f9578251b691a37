"""Tests of profiler traces of training steps, read back with JAX's own reader."""

import jax
import jax.numpy as jnp
import pytest
from jax.profiler import ProfileData

from svilm_jax.config import ConfigError, resolve
from svilm_jax.profiling.step_trace import StepTrace


def train(trace, start, total, stop=None):
    state = jnp.zeros(4)
    for number in range(start + 1, (stop or total) + 1):
        with trace.step(number, state):
            state = state + 1
        if trace.ends_with(number):
            trace.close(state)
    trace.close()


def traced_steps(file):
    """Numbers of the steps that the trace of a process shows."""
    events = (
        event for plane in ProfileData.from_file(str(file)).planes for line in plane.lines for event in line.events
    )
    return sorted(int(dict(event.stats)["step_num"]) for event in events if event.name == "train")


def files(workdir):
    return sorted((workdir / "profile" / "plugins" / "profile").rglob("*"))


def test_the_chosen_steps_are_traced(tmp_path):
    train(StepTrace((2, 4), tmp_path, 0, 6), 0, 6)
    folder, file = files(tmp_path)
    assert folder.name == "steps_2_4"
    assert file.name.endswith(".0.xplane.pb")  # of process 0
    assert traced_steps(file) == [2, 3, 4]


def test_without_steps_nothing_is_written(tmp_path):
    train(StepTrace((), tmp_path, 0, 3), 0, 3)
    assert not (tmp_path / "profile").exists()


def test_a_run_that_resumes_inside_the_range_traces_the_rest(tmp_path):
    train(StepTrace((2, 5), tmp_path, 0, 6), 0, 6, stop=3)  # a signal
    train(StepTrace((2, 5), tmp_path, 3, 6), 3, 6)
    found = {file.parent.name: traced_steps(file) for file in files(tmp_path) if file.is_file()}
    assert found == {"steps_2_3": [2, 3], "steps_4_5": [4, 5]}


def test_a_run_that_resumes_behind_the_range_traces_nothing(tmp_path):
    train(StepTrace((2, 3), tmp_path, 4, 6), 4, 6)
    assert not (tmp_path / "profile").exists()


def test_a_trace_that_cannot_be_recorded_does_not_end_the_training(tmp_path, caplog):
    jax.profiler.start_trace(str(tmp_path / "other"))
    try:
        train(StepTrace((1, 2), tmp_path, 0, 2), 0, 2)
    finally:
        jax.profiler.stop_trace()
    assert ["no profile from step 1 on" in message for message in caplog.messages] == [True]


def test_a_trace_that_cannot_be_written_does_not_end_the_training(tmp_path, caplog):
    (tmp_path / "profile").write_text("in the way")
    train(StepTrace((1, 2), tmp_path, 0, 2), 0, 2)
    assert ["no profile from step 1 on" in message for message in caplog.messages] == [True]


def test_steps_that_the_run_does_not_have_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"config.train.profile=\(5, 9\): expected steps of this run, which has 8"):
        StepTrace((5, 9), tmp_path, 0, 8)


@pytest.mark.parametrize("steps", [(3,), (3, 3), (5, 2), (1, 2, 3)])
def test_ranges_that_are_none_are_refused(steps):
    with pytest.raises(ConfigError, match=r"config.train.profile=.*: expected \(first, last\)"):
        resolve({"train": {"profile": steps}})


def test_steps_are_counted_from_one():
    with pytest.raises(ConfigError, match=r"config.train.profile\[0\]=0"):
        resolve({"train": {"profile": (0, 2)}})
