"""Tests of the importance of the keys of a sweep, where Optuna is installed."""

import sys

import pytest

from svilm_jax.sweeps.attempts import State
from svilm_jax.sweeps.importances import estimate_importances
from svilm_jax.sweeps.page import write_page
from svilm_jax.sweeps.plan import make_trial
from svilm_jax.sweeps.results import Row
from svilm_jax.sweeps.settings import group_by_setting


def rows(score):
    """Returns the rows of a grid of rates, patches and flips, with a score as the metric `x`."""
    grid = [(rate, patch, flip) for rate in (0.1, 0.2, 0.4) for patch in ((2, 8), (4, 8)) for flip in (False, True)]
    found = []
    for rate, patch, flip in grid:
        changes = {"rate": rate, "patch": patch, "flip": flip, "fixed": 3}
        found.append(Row(make_trial(changes, {}, changes), State.DONE, 0, 1, {"x": score(rate, patch, flip)}))
    return found


def test_shares_follow_what_the_metric_depends_on():
    pytest.importorskip("optuna", reason="pip install 'svilm_jax[search]'")
    settings = group_by_setting(rows(lambda rate, patch, flip: 10 * rate + (1.0 if patch == (2, 8) else 0.0)))
    found = estimate_importances(settings, ["rate", "patch", "flip", "fixed"], "x")
    assert [one.key for one in found] == ["rate", "patch", "flip"]  # a key of one value has no share
    assert sum(one.share for one in found) == pytest.approx(1)
    # Variances on the grid: 10 * rate: 100 * 0.01556 = 1.556; patch: 0.25. The forest only estimates them.
    assert found[0].share == pytest.approx(1.556 / 1.806, abs=0.1)
    assert found[2].share < 0.05
    assert found == estimate_importances(settings, ["rate", "patch", "flip", "fixed"], "x")


def test_the_page_shows_the_shares(tmp_path):
    pytest.importorskip("optuna", reason="pip install 'svilm_jax[search]'")
    write_page(tmp_path / "results.html", tmp_path, rows(lambda rate, *_: rate), "x")
    page = (tmp_path / "results.html").read_text()
    assert "share of the variance of x" in page
    assert page.index("<tr><td>rate</td>") < page.index("<tr><td>patch</td>")


@pytest.mark.parametrize("case", ["constant", "one key", "three settings", "not finite", "no optuna"])
def test_nothing_is_estimated_from_too_little(case, monkeypatch):
    if case == "no optuna":
        monkeypatch.setitem(sys.modules, "optuna", None)
    score = {"constant": lambda *_: 1.0, "not finite": lambda *_: float("nan")}.get(case, lambda rate, *_: rate)
    table = rows(score)[: 3 if case == "three settings" else None]
    keys = ["rate"] if case == "one key" else ["rate", "patch"]
    assert estimate_importances(group_by_setting(table), keys, "x") == []
