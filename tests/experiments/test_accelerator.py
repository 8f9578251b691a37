"""Tests of the accelerator report: a miniature run of every part, and the functions that determine its results."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.accelerator import __main__ as runner
from experiments.accelerator import kernels
from experiments.accelerator.correctness import error
from experiments.accelerator.miniature import CONFIGS, miniature
from experiments.accelerator.part import Part
from experiments.accelerator.table import format_markdown, keep, load, rows
from experiments.benchmarks.compiled_step import random_batch
from svilm_jax.cli.config_file import read_config

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
PARTS = [part.name for part in runner.PARTS]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a miniature run of all parts."""
    out = tmp_path_factory.mktemp("accelerator")
    command = [sys.executable, "-m", "experiments.accelerator", f"--out={out}", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (out / "screen.txt").write_text(done.stdout)
    return out


def read(report, part):
    return json.loads((report / f"{part}.json").read_text())


def test_every_part_passes_and_writes_its_file(report):
    assert [status["part"] for status in read(report, "summary")["parts"]] == PARTS
    assert {status["status"] for status in read(report, "summary")["parts"]} == {"ok"}
    assert all(read(report, part)["failures"] == [] for part in PARTS)
    # What a lent machine gives back: eight files in one folder.
    assert len([file for file in report.iterdir() if file.name != "screen.txt"]) <= 8


def test_the_table_has_the_figures_of_every_part(report):
    table = (report / "screen.txt").read_text()
    for figure in ("matmul bfloat16", "memory bandwidth", "svilm_jax Mini", "time in attention", "end to end: clips"):
        assert figure in table
    assert "demo: retrieval/t2v_R1" in table
    assert format_markdown(load(report)).count("\n| ") == len(rows(load(report))) + 1


def test_a_report_is_kept_by_the_name_of_its_device(report, tmp_path):
    file = keep(report, tmp_path)
    assert file.name == "cpu.json"
    assert json.loads(file.read_text()) == load(report)
    assert "## cpu" in (tmp_path / "README.md").read_text()
    with pytest.raises(SystemExit, match="no report"):
        keep(tmp_path)


def test_rates_are_measured(report):
    environment = read(report, "environment")
    assert environment["matmul_flops_float32"] > 1e8
    assert environment["memory_bandwidth"] > 1e7
    step = read(report, "train_step")["rows"][0]
    assert step["clips_per_second"] == pytest.approx(step["batch"] / step["seconds_per_step"])
    assert step["mfu"] > 0
    assert step["hfu"] > 0


def test_checks_were_made(report):
    correctness = read(report, "correctness")
    kernels_seen = {row["kernel"].split()[0] for row in correctness["attention"]}
    assert kernels_seen == {"xla", "rowwise"}
    assert {row["exchange"] for row in correctness["contrasts"]} == {"gather", "ring"}
    assert [row["difference"] <= 1e-6 for row in correctness["steps"]] == [True]  # another process, the same numbers


def test_the_trace_accounts_for_the_whole_step(report):
    trace = read(report, "kernels")
    assert sum(row["share"] for row in trace["categories"]) == pytest.approx(1, abs=1e-3)
    assert {"matmul", "attention", "optimizer", "losses", "gaps"} <= {row["category"] for row in trace["categories"]}
    assert trace["attributed"] > 0.9


def test_training_from_files_is_measured_and_ends_by_a_signal(report):
    end_to_end = read(report, "end_to_end")
    assert end_to_end["clips_per_second"] > 0
    assert 0 <= end_to_end["data_wait_fraction"] <= 1
    assert end_to_end["input_alone_clips_per_second"] > 0


def test_the_first_four_parts_need_no_decoder_and_no_checkpoints():
    names = ", ".join(f"experiments.accelerator.{name}" for name in PARTS[:4])
    forbidden = ["av", "grain", "array_record", "orbax", "tensorstore", "tensorflow_datasets", "tensorboardX", "clu"]
    code = f"import sys, {names}\nprint([m for m in {forbidden} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parts_that_do_not_fit_are_skipped_and_said_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["accelerator", f"--out={tmp_path}", "--seconds=11"])
    assert runner.main() == 0
    statuses = json.loads((tmp_path / "summary.json").read_text())["parts"]
    assert {status["status"] for status in statuses} == {"skipped"}
    assert "s left" in capsys.readouterr().out


def test_a_part_that_fails_keeps_its_traceback_and_the_others_go_on(tmp_path, monkeypatch):
    entries = (runner.Entry("no_such_part", 0, 60), runner.Entry("environment", 0, 60))
    monkeypatch.setattr(runner, "PARTS", entries)
    monkeypatch.setattr(sys, "argv", ["accelerator", f"--out={tmp_path}", "--smoke"])
    assert runner.main() == 1
    first, second = json.loads((tmp_path / "summary.json").read_text())["parts"]
    assert first["status"] == "failed"
    assert "No module named" in first["output"]
    assert second["status"] == "ok"


def test_a_machine_without_an_accelerator_is_refused_after_the_first_part(tmp_path, monkeypatch, capsys):
    def run(name, out, *rest):
        (out / f"{name}.json").write_text(json.dumps({"platform": "cpu"}))
        return {"part": name, "status": "ok", "seconds": 1.0}

    monkeypatch.setattr(runner, "_run", run)
    monkeypatch.setattr(sys, "argv", ["accelerator", f"--out={tmp_path}"])
    assert runner.main() == 1
    assert "JAX finds no accelerator" in capsys.readouterr().err
    assert [s["part"] for s in json.loads((tmp_path / "summary.json").read_text())["parts"]] == ["environment"]


def test_a_part_writes_as_it_goes_and_remembers_failures(tmp_path):
    part = Part(tmp_path / "p.json", 60, True, tmp_path)
    part.add("rows", value=1.5)
    with part.attempt("step"):
        raise ValueError("no memory")
    assert not part.ok
    document = json.loads((tmp_path / "p.json").read_text())
    assert document["rows"] == [{"value": 1.5}]
    assert "ValueError: no memory" in document["failures"][0]["reason"]


def test_an_error_is_relative_and_nan_is_infinite():
    assert error([np.array([1.0, 3.0])], [np.array([1.0, 4.0])]) == pytest.approx(0.25)
    assert error([np.array([np.nan])], [np.array([1.0])]) == np.inf


PROGRAM = """\
%fused_computation.1 (p: f32[4,4]) -> f32[4,4] {
  ROOT %dot.7 = f32[4,4]{1,0} dot(%p, %p), metadata={op_name="jit(step)/layer/dot_general"}
}
ENTRY %main (x: f32[4,4]) -> f32[4,4] {
  %gemm_fusion.3 = f32[4,4]{1,0} fusion(%x), kind=kCustom, calls=%fused_computation.1, metadata={op_name="jit(s)/up"}
  %custom-call.2 = f32[4,4]{1,0} custom-call(%x), custom_call_target="__cublas$gemm", metadata={op_name="jit(step)/q"}
  %fmha.1 = f32[4,4]{1,0} custom-call(%x), custom_call_target="__cudnn$fmhaSoftmax", metadata={op_name="jit(s)/attend/"}
  %add.5 = f32[4,4]{1,0} add(%x, %x), metadata={op_name="jit(step)/optimizer/add"}
  ROOT %loop_fusion.9 = f32[4,4]{1,0} fusion(%x), kind=kLoop, calls=%other, metadata={op_name="jit(s)/global_contrast/"}
}
"""


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("gemm_fusion.3", "matmul"),
        ("gemm_fusion_3", "matmul"),  # as CUDA kernels are named
        ("custom-call.2", "matmul"),
        ("fmha.1", "attention"),
        ("add.5", "optimizer"),
        ("loop_fusion_9", "losses"),
        ("MemcpyH2D", "input transfer"),
        ("MemcpyD2D", "copies"),
        ("nvjet_hsh_128x256_64x4_NNT", "matmul"),  # a library kernel without its instruction
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "attention"),
        ("input_reduce_fusion_4", "norms and element-wise"),
    ],
)
def test_kernels_are_told_apart(kernel, expected):
    assert kernels.category(kernel, kernels.read_program(PROGRAM)) == expected


def test_nested_and_overlapping_intervals_count_once():
    events = kernels._without_nested("line", [("outer", 0, 10e9), ("inner", 2e9, 5e9), ("next", 12e9, 14e9)])
    assert {event.name: event.seconds for event in events} == {"outer": 7, "inner": 3, "next": 2}
    other = kernels._without_nested("other", [("parallel", 12e9, 14e9)])
    totals, window = kernels.shares([*events, *other], {})
    assert window == 14
    assert totals[kernels.GAPS] == 2
    assert sum(totals.values()) == pytest.approx(14)


@pytest.mark.parametrize(
    "name", ["finetune/localization.py", "finetune/question_answering.py:data=untrimmed,align=multilevel"]
)
def test_random_batches_have_the_shapes_of_the_input(name):
    from svilm_jax.input.batch_spec import batch_spec

    config = miniature(read_config(f"configs/{name}", ()), "float32")
    batch, spec = random_batch(config, 64), batch_spec(config)
    assert {key: (array.shape, array.dtype) for key, array in batch.items()} == spec


def test_every_config_has_a_miniature():
    files = {str(file.relative_to(ROOT / "configs")) for file in (ROOT / "configs").rglob("*.py")}
    sweeps = {name for name in files if name.startswith("sweeps/")}  # of configs that are here already
    assert {name.partition(":")[0] for name in CONFIGS} == files - {"__init__.py"} - sweeps
