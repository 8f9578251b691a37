"""Communication volume between devices of a compiled program, from its HLO text.

XLA's `cost_analysis` does not report it. Each computation counts as often as it is executed from the entry; a loop
body counts once per iteration.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Callable, Iterator

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8, "f8e4m3fn": 1, "f8e5m2": 1, "c64": 8}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_NAME = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)=(\{[^}]*\}|%?[\w.\-]+)"
)
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CONSTANT = re.compile(r"^(\d+)\)")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_GROUPS = re.compile(r"replica_groups=(\{\{[\d,]+\}|\[\d+,\d+\]|mesh\[[^\]]*\] \{[^}]*\})")

# Bytes that a device sends in a collective over n devices, as a fraction of its result.
_SENT: dict[str, Callable[[int], float]] = {
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: n - 1.0,
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "collective-permute": lambda n: 1.0,
}


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    rest: str  # operands and attributes


def collective_bytes(text: str) -> dict[str, float]:
    """Returns the bytes that one device sends per run, by kind of collective, for the ring algorithms of TPUs and NCCL.

    Args:
      text: of a compiled module, `Compiled.as_text()`.
    """
    computations, entry = _computations(text)
    times = _times(computations, entry)
    traffic: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for name, instructions in computations.items():
        for i in instructions:
            kind = i.opcode.removesuffix("-start")
            if kind not in _SENT:
                continue
            sent = times[name] * _size(i) * _SENT[kind](_group_size(i.rest))
            # One transfer can appear several times, at its start and at its end: both have the same channel.
            channel = _CHANNEL.search(i.rest)
            key = channel.group(1) if channel else f"{name}/{i.name}"
            traffic[kind][key] = max(traffic[kind].get(key, 0.0), sent)
    return {kind: sum(found.values()) for kind, found in sorted(traffic.items())}


def _computations(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    found: dict[str, list[_Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            current = header.group(2)
            found[current] = []
            entry = current if header.group(1) else entry
        elif current is not None and (instruction := _instruction(line)):
            found[current].append(instruction)
    return found, entry


def _instruction(line: str) -> _Instruction | None:
    """Parses `%name = shape opcode(operands), attributes`; the shape of a tuple contains brackets as well."""
    name = _NAME.match(line)
    if name is None:
        return None
    end = start = name.end()
    depth = 0
    while end < len(line) and (depth or line[end] != " "):
        depth += {"(": 1, ")": -1}.get(line[end], 0)
        end += 1
    opcode = _OPCODE.match(line, end)
    return _Instruction(name.group(1), line[start:end], opcode.group(1), line[opcode.end() :]) if opcode else None


def _times(computations: dict[str, list[_Instruction]], entry: str) -> dict[str, float]:
    """Returns how often each computation is executed in one run of the entry."""
    edges: dict[str, list[tuple[str, int]]] = {name: [] for name in computations}
    for name, instructions in computations.items():
        for i in instructions:
            trips = _trips(i, computations) if i.opcode == "while" else 1
            edges[name] += [(called, trips) for called in _called(i.rest) if called in computations]
    times = dict.fromkeys(computations, 0.0)

    def visit(name: str, count: float) -> None:
        times[name] += count
        for called, trips in edges[name]:
            visit(called, count * trips)

    visit(entry, 1.0)
    return times


def _called(rest: str) -> Iterator[str]:
    for names in _CALLED.findall(rest):
        yield from (name.strip().removeprefix("%") for name in names.strip("{}").split(","))


def _trips(loop: _Instruction, computations: dict[str, list[_Instruction]]) -> int:
    """Returns the trip count that the compiler annotates, else the loop bound in the condition (counting from 0)."""
    if noted := _TRIPS.search(loop.rest):
        return int(noted.group(1))
    condition = _CONDITION.search(loop.rest)
    bounds = [
        int(number.group(1))
        for i in computations.get(condition.group(1) if condition else "", ())
        if i.opcode == "constant" and (number := _CONSTANT.match(i.rest))
    ]
    return max(bounds, default=1)


def _size(i: _Instruction) -> float:
    """Returns the bytes of the result; asynchronous starts return their operands as well."""
    arrays = [math.prod(map(int, filter(None, d.split(",")))) * _BYTES.get(t, 4) for t, d in _ARRAY.findall(i.shape)]
    return max(arrays, default=0) if i.opcode.endswith("-start") else sum(arrays)


def _group_size(rest: str) -> int:
    """Returns the number of devices that exchange data; 2 if not specified (a permutation)."""
    groups = _GROUPS.search(rest)
    if groups is None:
        return 2
    text = groups.group(1)
    if text.startswith("{{"):
        return text.count(",") + 1
    if text.startswith("["):  # [groups, members]
        return int(text.strip("[]").split(",")[1])
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", text))  # mesh['axis'=size, ...] {'axes of a group'}
    return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", text.rsplit("{", 1)[1]))
