"""Tests of the plan of a sweep: identity of trials, and what a changed sweep adds."""

import json

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.sweeps.plan import PLAN, TRIAL_CONFIG, distinct, extended, make_trial, read_plan, write_plan


def trial(**config):
    return make_trial(config, config, config)


def test_a_trial_is_its_resolved_config():
    one = make_trial({"a": 1}, {"a": 1}, {"a": 1, "b": (2, 3.0)})
    other = make_trial({"c": 9}, {}, {"b": [2, 3.0], "a": 1})
    assert one.id == other.id
    assert len(one.id) == 12
    assert len({trial(a=value).id for value in (1, 2, True, "1", None, 0.1, 0.1 + 1e-18, 0.1 + 2e-17)}) == 7


def test_ids_are_stable_across_versions_of_python():
    assert trial(seed=3, rate=0.1, layers=(1, 2)).id == "e5beb1b48b02"


def test_values_that_json_cannot_express_are_refused():
    with pytest.raises(ConfigError, match="cannot express"):
        trial(a={1, 2})
    with pytest.raises(ConfigError, match="cannot express"):
        trial(a=float("nan"))


def test_a_plan_is_read_back_and_extended(tmp_path):
    first = [trial(a=1), trial(a=(2, 3))]
    write_plan(tmp_path, first)
    assert json.loads((tmp_path / first[1].id / TRIAL_CONFIG).read_text()) == {"a": [2, 3]}
    assert [found.changes for found in read_plan(tmp_path)] == [{"a": 1}, {"a": [2, 3]}]
    second = [trial(a=0), trial(a=(2, 3))]
    plan = extended(read_plan(tmp_path), second)
    assert [found.changes["a"] for found in plan] == [1, [2, 3], 0]
    write_plan(tmp_path, plan)
    assert [found.id for found in read_plan(tmp_path)] == [found.id for found in plan]
    assert json.loads((tmp_path / first[0].id / TRIAL_CONFIG).read_text()) == {"a": 1}


def test_an_unchanged_plan_is_not_written_again(tmp_path):
    write_plan(tmp_path, [trial(a=1)])
    files = [tmp_path / PLAN, tmp_path / trial(a=1).id / TRIAL_CONFIG]
    before = [file.stat().st_ino for file in files]
    write_plan(tmp_path, extended(read_plan(tmp_path), [trial(a=1)]))
    assert [file.stat().st_ino for file in files] == before


def test_repeated_trials_count_once():
    assert distinct([trial(a=1), trial(a=2), trial(a=1)]) == [trial(a=1), trial(a=2)]


def test_another_file_of_that_name_is_refused(tmp_path):
    (tmp_path / PLAN).write_text('{"other": 1}\n')
    with pytest.raises(ConfigError, match="not the plan of a sweep"):
        read_plan(tmp_path)
