"""Tables of a report: on the screen at the end of a run, and as Markdown for `experiments/results/accelerator`."""

import json
from pathlib import Path
from typing import Any


def device_name(out: Path) -> str:
    """Returns the device kind that part `environment` found, or an empty string."""
    return _read(out, "environment").get("device_kind", "")


def format_summary(out: Path) -> str:
    """Returns the figures of all parts as lines of a table, and what failed."""
    return "\n".join(f"{name:<44} {value}" for name, value in rows(out))


def format_markdown(out: Path) -> str:
    """Returns the same as a Markdown table."""
    lines = [f"## {device_name(out) or 'unknown device'}", "", "| figure | measured |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows(out))]) + "\n"


def rows(out: Path) -> list[tuple[str, str]]:
    """Returns (figure, value) pairs of what was measured."""
    summary = _read(out, "summary")
    parts = {part: _read(out, part) for part in ("environment", "correctness", "train_step")}
    parts |= {part: _read(out, part) for part in ("kernels", "end_to_end", "demo")}
    found = [("device", _device(parts["environment"]))] + ([("miniature", "yes")] if summary.get("smoke") else [])
    for row in parts["environment"].get("matmul", []):
        found.append((f"matmul {row['dtype']}", f"{row['tflops_per_second']:.3g} TFLOP/s"))
    if "memory_bandwidth" in parts["environment"]:
        found.append(("memory bandwidth", f"{parts['environment']['memory_bandwidth'] / 1e9:.4g} GB/s"))
    found += [(f"checks: {name}", f"{len(parts['correctness'].get(name, []))}") for name in _CHECKS]
    found += _steps(parts["train_step"])
    if ratio := parts["train_step"].get("ratio"):
        found.append((f"clips/s over PyTorch, batch {ratio['batch']}", f"{ratio['at_same_batch']:.2f}"))
        if "best_of_each" in ratio:
            found.append(("clips/s over PyTorch, best batch of each", f"{ratio['best_of_each']:.2f}"))
    for row in parts["kernels"].get("categories", []):
        found.append((f"time in {row['category']}", f"{row['share']:.1%}"))
    end_to_end = parts["end_to_end"]
    found += [(f"end to end: {name}", _number(end_to_end[name])) for name in _END_TO_END if name in end_to_end]
    found += [(f"demo: {name}", _number(value)) for name, value in parts["demo"].get("figures", {}).items()]
    for status in summary.get("parts", []):
        told = status["status"] + (f", {status['seconds']} s" if "seconds" in status else f": {status['reason']}")
        found.append((f"part {status['part']}", told))
        found += [("FAILED", f"{f['name']}: {f['reason'].strip().splitlines()[-1]}") for f in _failures(parts, status)]
    return found


_CHECKS = ("attention", "contrasts", "steps")
_END_TO_END = ("clips_per_second", "share_of_step_alone", "data_wait_fraction", "workers", "cores_needed")


def _steps(train_step: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for row in train_step.get("rows", []):
        name = f"{row['side']} {row['variant']}, batch {row['batch']}, remat {row['remat']}"
        figures = [f"{row['clips_per_second']:.4g} clips/s"]
        figures += [f"{row['model_tflops_per_second']:.3g} TFLOP/s", f"MFU {row['mfu']:.1%}"]
        figures += [f"HFU {row['hfu']:.1%}"] if "hfu" in row else []
        figures += [f"{row['peak_gib']:.1f} GiB"] if row.get("peak_gib") else []
        found.append((name, ", ".join([*figures, f"compiled in {row['compile_seconds']:.0f} s"])))
    return found


def _failures(parts: dict[str, Any], status: dict[str, Any]) -> list[dict[str, str]]:
    listed = parts.get(status["part"], {}).get("failures", [])
    if listed or status["status"] in ("ok", "skipped"):
        return listed
    return [{"name": status["part"], "reason": (status.get("output") or "no output").strip()}]


def _device(environment: dict[str, Any]) -> str:
    return f"{environment.get('devices', 0)} x {environment.get('device_kind', 'unknown')}"


def _number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _read(out: Path, name: str) -> dict[str, Any]:
    file = out / f"{name}.json"
    return json.loads(file.read_text()) if file.is_file() else {}
