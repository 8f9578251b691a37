"""Tests of the table of pods, and of doubling microbatches until a step fits."""

import json

import pytest

from tests.scripts import script

PLAN = {
    "topology": "v5e:8x8",
    "microbatches": 2,
    "parameter_bytes": 2**29,
    "optimizer_bytes": 2**29,
    "peak_hbm_bytes": 12 * 2**30,
    "hbm_bytes": 16 * 2**30,
    "fits": True,
    "flops_per_chip": 6.84e13,
    "collective_bytes": {"all-gather": 2.0**20, "all-reduce": 2.0**32, "all-to-all": 17.0},
    "estimated_step_seconds": 0.3473,
    "estimated_mfu": 0.688,
    "compile_seconds": 161.3,
}


@pytest.fixture(scope="module")
def pods():
    return script("pods")


def test_a_row_of_the_table(pods, tmp_path):
    file = pods.entry_file(tmp_path, "L", 4096, "v5e-64")
    file.parent.mkdir()
    file.write_text(json.dumps(PLAN))
    row = pods.table(tmp_path).splitlines()[-1]
    cells = ["S-ViLM-L", "4,096", "v5e-64 (8x8)", "2", "1.00 GiB", "12.0 GiB", "16 GiB", "yes", "68.4"]
    cells += ["4.00 GiB all-reduce", "347 ms", "69%", "161 s"]
    assert [cell.strip() for cell in row.strip("|").split("|")] == cells


@pytest.mark.parametrize(("needed", "parts"), [(1, 1), (3, 4), (8, 8), (1000, 16)])
def test_parts_are_doubled_until_they_fit(pods, tmp_path, monkeypatch, needed, parts):
    monkeypatch.setattr(
        pods, "planned", lambda v, b, p, count, f: {**PLAN, "microbatches": count, "fits": count >= needed}
    )
    entry = pods.fitting("B", 4096, "v5e-64", 16, tmp_path)
    assert entry["microbatches"] == parts
    assert [tried["microbatches"] for tried in entry["did_not_fit"]] == [2**i for i in range(10) if 2**i < parts]
