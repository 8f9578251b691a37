"""Tables of reports: on the terminal at the end of a run, and as Markdown for all measured devices.

    python -m experiments.accelerator.table runs/accelerator

stores the report of a run as experiments/results/accelerator/DEVICE.json, and rewrites the table next to it.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path("experiments/results/accelerator")
PARTS = ("summary", "environment", "correctness", "train_step", "kernels", "end_to_end", "demo")
_CHECKS = ("attention", "contrasts", "steps")
_END_TO_END = ("clips_per_second", "share_of_step_alone", "data_wait_fraction", "workers", "cores_needed")

Report = Mapping[str, Mapping[str, Any]]


def load(out: Path) -> dict[str, dict[str, Any]]:
    """Returns the results of a run by part; empty for parts that did not run."""
    files = {part: out / f"{part}.json" for part in PARTS}
    return {part: json.loads(file.read_text()) if file.is_file() else {} for part, file in files.items()}


def device_name(report: Report) -> str:
    """Returns the device kind of part `environment`, or ""."""
    return report["environment"].get("device_kind", "")


def format_summary(report: Report) -> str:
    """Formats the figures of all parts as lines of a table, with the failures."""
    return "\n".join(f"{name:<44} {value}" for name, value in rows(report))


def format_markdown(report: Report) -> str:
    """Formats the figures as a Markdown table."""
    lines = [f"## {device_name(report) or 'unknown device'}", "", "| figure | measured |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows(report))]) + "\n"


def rows(report: Report) -> list[tuple[str, str]]:
    """Returns (figure, value) pairs of all measurements."""
    environment, steps = report["environment"], report["train_step"]
    pairs = [("device", f"{environment.get('devices', 0)} x {device_name(report) or 'unknown'}")]
    pairs += [("miniature", "yes")] if report["summary"].get("smoke") else []
    for row in environment.get("matmul", []):
        pairs.append((f"matmul {row['dtype']}", f"{row['tflops_per_second']:.3g} TFLOP/s"))
    if "memory_bandwidth" in environment:
        pairs.append(("memory bandwidth", f"{environment['memory_bandwidth'] / 1e9:.4g} GB/s"))
    checks = report["correctness"]
    pairs += [(f"checks: {name}", str(len(checks[name]))) for name in _CHECKS if name in checks]
    pairs += [_step(row) for row in steps.get("rows", [])]
    if ratio := steps.get("ratio"):
        pairs.append((f"clips/s over PyTorch, batch {ratio['batch']}", f"{ratio['at_same_batch']:.2f}"))
        if "best_of_each" in ratio:
            pairs.append(("clips/s over PyTorch, best batch of each", f"{ratio['best_of_each']:.2f}"))
    for row in report["kernels"].get("categories", []):
        pairs.append((f"time in {row['category']}", f"{row['share']:.1%}"))
    end_to_end = report["end_to_end"]
    pairs += [(f"end to end: {name}", _number(end_to_end[name])) for name in _END_TO_END if name in end_to_end]
    pairs += [(f"demo: {name}", _number(value)) for name, value in report["demo"].get("figures", {}).items()]
    for status in report["summary"].get("parts", []):
        seconds = f", {status['seconds']} s" if "seconds" in status else f": {status['reason']}"
        pairs.append((f"part {status['part']}", status["status"] + seconds))
        pairs += [("FAILED", f"{f['name']}: {_last_line(f['reason'])}") for f in _failures(report, status)]
    return pairs


def _step(row: Mapping[str, Any]) -> tuple[str, str]:
    figures = [f"{row['clips_per_second']:.4g} clips/s", f"{row['model_tflops_per_second']:.3g} TFLOP/s"]
    figures += [f"MFU {row['mfu']:.1%}"] + ([f"HFU {row['hfu']:.1%}"] if "hfu" in row else [])
    figures += [f"{row['peak_gib']:.1f} GiB"] if row.get("peak_gib") else []
    figures += [f"compiled in {row['compile_seconds']:.0f} s"]
    return (
        f"{row['side']} {row['variant']}, batch {row['batch']}, remat {row['remat']}, unroll {row['unroll']}",
        ", ".join(figures),
    )


def _failures(report: Report, status: Mapping[str, Any]) -> list[dict[str, str]]:
    listed = report.get(status["part"], {}).get("failures", [])
    if listed or status["status"] in ("ok", "skipped"):
        return listed
    return [{"name": status["part"], "reason": status.get("output") or "no output"}]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1].replace("|", "/")


def _number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def keep(out: Path, results: Path = RESULTS) -> Path:
    """Stores the report of a run under the name of its device, and rewrites the table of all devices."""
    report = load(out)
    name = re.sub(r"[^a-z0-9]+", "_", device_name(report).lower()).strip("_")
    if not name:
        sys.exit(f"{out}: no report of `python -m experiments.accelerator` here (environment.json is missing)")
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{name}.json"
    file.write_text(json.dumps(report, indent=1) + "\n")
    reports = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    title = "# Measured accelerators\n\nWritten by `python -m experiments.accelerator.table`; do not edit.\n"
    (results / "README.md").write_text("\n".join([title, *map(format_markdown, reports)]))
    return file


if __name__ == "__main__":
    print(keep(Path(sys.argv[1])))
