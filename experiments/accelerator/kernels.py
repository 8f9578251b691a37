"""Part 4: time of a training step by kernel category, from a profiler trace of three steps.

Kernels are attributed through the compiled program: the trace names the HLO instruction of each kernel, and the
program names the scope (`attend`, `optimizer`, an objective) and the opcode of each instruction.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.accelerator.part import Part, run_part
from experiments.accelerator.train_step import step_config, words
from experiments.benchmarks.compiled_step import compile_step, random_batch

STEPS = 3
CONTRASTS = ("global_contrast", "spatial_grounding", "temporal_grouping", "multilevel_alignment")
GAPS = "gaps"

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = .*? ([\w\-]+)\(")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_SCOPE = re.compile(r'op_name="([^"]*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_CALLS = re.compile(r"calls=%?([\w.\-]+)")
_MATMUL_KERNEL = re.compile(r"gemm|cublas|cutlass|nvjet|xmma|matmul|wgmma|(^|_)dot(_|$)", re.IGNORECASE)
_ATTENTION_KERNEL = re.compile(r"fmha|flash|sdpa|_mha|cudnn_generated", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """An instruction of the compiled program: its scope, and whether it is or contains a matrix product."""

    scope: str
    matmul: bool


@dataclasses.dataclass(frozen=True)
class Event:
    """An interval on a line of a trace, in nanoseconds; `seconds` excludes nested intervals."""

    name: str
    line: str
    start: float
    end: float
    seconds: float


def run(part: Part) -> None:
    """Traces the fastest step of part 3, transferring its batch each time."""
    best = best_step(part)
    vocab_size = words(part.smoke)
    step = compile_step(step_config(part.smoke, "B", *best), vocab_size)
    state, host_batch = step.init_state(vocab_size), random_batch(step.config, vocab_size)
    state, _ = step.time(state, step.place(host_batch), 2)
    folder = part.scratch / "trace"
    with jax.profiler.trace(str(folder)):
        for _ in range(STEPS):
            state, _ = step.time(state, step.place(host_batch), 1)
    files = sorted(folder.rglob("*.xplane.pb"))
    if not files:
        part.fail("trace", f"the profiler wrote no trace to {folder}")
        return
    program: dict[str, Instruction] = {}
    with part.attempt("text of the program"):  # without it, kernels are classified by their names only
        program = read_program(step.compiled.as_text())
    events = device_events(files[-1], jax.default_backend())
    part.note(**best._asdict(), steps=STEPS, events=len(events))
    if not events:
        part.fail("trace", "the trace has no event of the device")
        return
    totals, window = shares(events, program)
    part.note(milliseconds_per_step=window / STEPS * 1e3)
    for category, seconds in sorted(totals.items(), key=lambda item: -item[1]):
        part.add("categories", category=category, share=seconds / window, milliseconds_per_step=seconds / STEPS * 1e3)
    for name, category, seconds, scope in heaviest(events, program):
        part.add("kernels", name=name, category=category, milliseconds_per_step=seconds / STEPS * 1e3, scope=scope)
    attributed = sum(event.seconds for event in events if lookup(event.name, program)) / sum(e.seconds for e in events)
    part.note(attributed=attributed)


class Best(NamedTuple):
    """Batch size, rematerialization and unrolled layers of a step."""

    batch: int
    remat: str
    unroll: int


def best_step(part: Part) -> Best:
    """Returns the fastest step of S-ViLM-B in part 3."""
    rows = [row for row in part.read("train_step").get("rows", []) if row["side"] == "svilm_jax"]
    rows = [row for row in rows if part.smoke or row["variant"] == "B"]
    if not rows:
        return Best(8, "full", 1) if part.smoke else Best(16, "none", 1)
    best = max(rows, key=lambda row: row["clips_per_second"])
    return Best(best["batch"], best["remat"], best["unroll"])


def read_program(text: str) -> dict[str, Instruction]:
    """Reads the instructions of an HLO module from its text."""
    scopes: dict[str, str] = {}
    matmuls: dict[str, bool] = {}
    calls: dict[str, str] = {}
    contains: dict[str, bool] = collections.defaultdict(bool)
    computation = ""
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            computation = header.group(1)
        elif instruction := _INSTRUCTION.match(line):
            name, opcode = instruction.groups()
            scope, target = _SCOPE.search(line), _TARGET.search(line)
            scopes[name] = scope.group(1) if scope else ""
            product = opcode in ("dot", "convolution") or bool(target and _MATMUL_KERNEL.search(target.group(1)))
            matmuls[name] = product
            contains[computation] |= product
            if opcode == "fusion" and (called := _CALLS.search(line)):
                calls[name] = called.group(1)
    program = {name: Instruction(scopes[name], matmuls[name] or contains[calls.get(name, "")]) for name in scopes}
    return {_sanitized(name): instruction for name, instruction in program.items()} | program


def device_events(file: Path, platform: str) -> list[Event]:
    """Reads the kernels of a trace: lines of streams of a GPU, of operations of a TPU, of the program on a CPU."""
    data = jax.profiler.ProfileData.from_file(str(file))
    events: list[Event] = []
    for plane in data.planes:
        if platform == "cpu":
            lines = list(plane.lines) if plane.name == "/host:CPU" else []
        elif plane.name.startswith("/device:"):
            lines = [line for line in plane.lines if line.name.startswith(("Stream", "XLA Ops"))]
        else:
            lines = []
        for line in lines:
            rows = []
            for event in line.events:
                stats = dict(event.stats)
                if platform == "cpu" and "hlo_op" not in stats:
                    continue
                name = str(stats.get("hlo_op") or event.name)
                if str(event.name).startswith("Memcpy"):
                    name = str(event.name) + str(stats.get("memcpy_details", ""))
                rows.append((name, float(event.start_ns), float(event.start_ns) + float(event.duration_ns)))
            events += _without_nested(f"{plane.name} {line.name}", rows)
    return events


def _without_nested(line: str, rows: list[tuple[str, float, float]]) -> list[Event]:
    """Subtracts from each interval of a line the time of nested intervals."""
    rows = sorted(rows, key=lambda row: (row[1], -row[2]))
    own = [end - start for _, start, end in rows]
    stack: list[int] = []
    for number, (_, start, end) in enumerate(rows):
        while stack and rows[stack[-1]][2] <= start:
            stack.pop()
        if stack:
            own[stack[-1]] -= min(end, rows[stack[-1]][2]) - start
        stack.append(number)
    return [
        Event(name, line, start, end, max(seconds, 0.0) / 1e9)
        for (name, start, end), seconds in zip(rows, own, strict=True)
    ]


def lookup(name: str, program: Mapping[str, Instruction]) -> Instruction | None:
    """Finds the instruction of a kernel, whose name may have dots turned into underscores."""
    return program.get(name) or program.get(_sanitized(name))


def _sanitized(name: str) -> str:
    """Returns the name that a CUDA kernel has for an instruction."""
    return re.sub(r"[.\-]", "_", name)


def category(name: str, program: Mapping[str, Instruction]) -> str:
    """Returns the category of a kernel."""
    if "Memcpy" in name:
        return "input transfer" if "H2D" in name or "HtoD" in name else "copies"
    instruction = lookup(name, program)
    scope = instruction.scope if instruction else ""
    if "/optimizer" in scope:
        return "optimizer"
    if any(f"/{contrast}" in scope or f"({contrast})" in scope for contrast in CONTRASTS):
        return "losses"
    if "/splice" in scope:
        return "splicing"
    if "attend" in scope or _ATTENTION_KERNEL.search(name):
        return "attention"
    if (instruction and instruction.matmul) or _MATMUL_KERNEL.search(name):
        return "matmul"
    return "norms and element-wise"


def shares(events: Iterable[Event], program: Mapping[str, Instruction]) -> tuple[dict[str, float], float]:
    """Returns seconds by category, gaps among them, and the seconds from the first to the last kernel.

    Overlapping kernels of several streams or threads share the time in proportion.
    """
    events = list(events)
    start, end = min(e.start for e in events), max(e.end for e in events)
    window = (end - start) / 1e9
    busy = _union((e.start, e.end) for e in events) / 1e9
    own: dict[str, float] = collections.defaultdict(float)
    for event in events:
        own[category(event.name, program)] += event.seconds
    scale = busy / max(sum(own.values()), 1e-12)
    return {**{name: seconds * scale for name, seconds in own.items()}, GAPS: window - busy}, window


def _union(intervals: Iterable[tuple[float, float]]) -> float:
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def heaviest(events: Iterable[Event], program: Mapping[str, Instruction]) -> list[tuple[str, str, float, str]]:
    """Returns name, category, seconds and scope of the 15 kernels with the largest total time."""
    totals: dict[str, float] = collections.defaultdict(float)
    for event in events:
        totals[event.name] += event.seconds
    top = sorted(totals.items(), key=lambda item: -item[1])[:15]
    rows = []
    for name, seconds in top:
        instruction = lookup(name, program)
        rows.append((name[:80], category(name, program), seconds, instruction.scope[-120:] if instruction else ""))
    return rows


if __name__ == "__main__":
    run_part(run)
