"""Resource plans of the paper's models on TPU pods: the real train step compiled for each, on any Linux machine.

    python experiments/pods.py --out experiments/pods

Every entry is one `svilm compile` in a separate process, with its command stored next to its figures. A step that does
not fit is divided into twice as many microbatches (GradCache, `config.train.microbatches`) until it does; a large batch
starts with the number that it needs if memory per row is that of the smaller batch's plan. Existing entries are not
compiled again; the table is written from all of them.
"""

import argparse
import itertools
import json
import math
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

VARIANTS = ("B", "L")
BATCHES = (1024, 4096)
TOPOLOGIES = {"v5e-64": "v5e:8x8", "v5e-256": "v5e:16x16", "v5p-128": "v5p:4x4x4", "v6e-256": "v6e:16x16"}
CHIPS = {"v5e-64": 64, "v5e-256": 256, "v5p-128": 64, "v6e-256": 256}  # v5p is named by cores, two per chip
BLOCK = 8  # config.splice.block, unless a chip has fewer rows


def main() -> None:
    """Compiles the missing entries, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("experiments/pods"))
    parser.add_argument("--only", default="", metavar="WORD", help="entries whose name contains this, such as B_1024")
    parser.add_argument("--most", type=int, default=16, help="maximum number of microbatches")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for variant, batch, pod in itertools.product(VARIANTS, BATCHES, TOPOLOGIES):
        name, file = f"{variant}_{batch}_{pod}", entry_file(args.out, variant, batch, pod)
        if args.only in name and not file.is_file():
            entry = fitting(variant, batch, pod, args.most, args.out)
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(entry, indent=1) + "\n")
            print(f"{name}: {entry['microbatches']} microbatches, fits: {entry['fits']}", flush=True)
    (args.out / "README.md").write_text(table(args.out))


def entry_file(folder: Path, variant: str, batch: int, pod: str) -> Path:
    """Returns the file of an entry."""
    return folder / variant / f"{batch}_{pod}.json"


def fitting(variant: str, batch: int, pod: str, most: int, folder: Path) -> dict[str, Any]:
    """Returns the plan with the fewest microbatches that fits, or with the maximum number, and the rejected plans."""
    parts, tried = first_guess(variant, batch, pod, folder), []
    while True:
        entry = planned(variant, batch, pod, parts, folder / f"{variant}_{batch}_{pod}.tmp")
        if entry["fits"] or 2 * parts > min(most, batch // CHIPS[pod]):
            return {**entry, "did_not_fit": tried}
        tried.append({"microbatches": parts, "peak_hbm_bytes": entry["peak_hbm_bytes"]})
        parts *= 2


def first_guess(variant: str, batch: int, pod: str, folder: Path) -> int:
    """Estimates the number of microbatches from the plan of the smallest batch on the same pod; 1 without it."""
    file = entry_file(folder, variant, BATCHES[0], pod)
    if not file.is_file():
        return 1
    plan = json.loads(file.read_text())
    fixed = plan["parameter_bytes"] + plan["optimizer_bytes"]
    rows = (
        (plan["hbm_bytes"] - fixed) * plan["batch_size"] / (plan["peak_hbm_bytes"] - fixed)
    )  # rows that fit at a time, on all chips
    return 2 ** max(0, math.ceil(math.log2(batch / rows)))


def planned(variant: str, batch: int, pod: str, parts: int, file: Path) -> dict[str, Any]:
    """Compiles one step in a subprocess; returns its plan."""
    values = {"train.batch_size": batch, "splice.block": min(BLOCK, batch // CHIPS[pod])}
    values |= {"train.microbatches": parts} if parts > 1 else {}
    options = [f"--config=configs/pretrain/svilm_b.py:variant={variant}", f"--topology={TOPOLOGIES[pod]}"]
    options += ["--mesh=fsdp", *(f"--config.{key}={value}" for key, value in values.items())]
    command = [sys.executable, "-m", "svilm_jax.main", "compile", *options, f"--out={file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not file.is_file():
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    plan = json.loads(file.read_text())
    file.unlink()
    versions = {name: metadata.version(name) for name in ("jax", "libtpu")}
    return {"command": shlex.join(["svilm", "compile", *options]), "microbatches": parts, "versions": versions, **plan}


def table(folder: Path) -> str:
    """Formats all entries of the folder as Markdown."""
    lines = [
        "# Resource plans of S-ViLM on TPU pods",
        "",
        "Written by `python experiments/pods.py`; each JSON file below this folder has all figures of one row and its",
        "command. The step is the real one (32 frames of 224x224, full objective, bfloat16, full rematerialization,",
        "SGD with momentum, 30,522 tokens, parameters sharded over all chips), compiled without hardware. Memory and",
        "traffic are the compiler's plan; **times and MFU are estimates**: a lower bound of the step time from",
        "published peak rates (roofline), not a measurement. FLOPs include rematerialization, MFU does not.",
        "Microbatches: number of parts of a batch (GradCache) that does not fit whole. Compiled on one busy core.",
        "",
        "| model | batch | pod | microbatches | parameters + optimizer | peak HBM | HBM | fits | TFLOPs per chip | "
        "traffic per chip | estimated step | estimated MFU | compiled in |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for variant, batch, pod in itertools.product(VARIANTS, BATCHES, TOPOLOGIES):
        file = entry_file(folder, variant, batch, pod)
        if file.is_file():
            lines.append(line(variant, batch, pod, json.loads(file.read_text())))
    return "\n".join(lines) + "\n"


def line(variant: str, batch: int, pod: str, plan: dict[str, Any]) -> str:
    """Formats one row."""
    kinds = sorted(plan["collective_bytes"].items(), key=lambda item: -item[1])
    sent = ", ".join(
        f"{size / 2**30:.2f} GiB {kind}" for kind, size in kinds if size >= 2**24
    )  # smaller amounts are negligible
    cells = [
        f"S-ViLM-{variant}",
        f"{batch:,}",
        f"{pod} ({re.sub('.*:', '', plan['topology'])})",
        plan["microbatches"],
        f"{(plan['parameter_bytes'] + plan['optimizer_bytes']) / 2**30:.2f} GiB",
        f"{plan['peak_hbm_bytes'] / 2**30:.1f} GiB",
        f"{plan['hbm_bytes'] / 2**30:.0f} GiB",
        "yes" if plan["fits"] else "no",
        f"{plan['flops_per_chip'] / 1e12:.1f}",
        sent,
        f"{plan['estimated_step_seconds'] * 1e3:,.0f} ms",
        f"{plan['estimated_mfu']:.0%}",
        f"{plan['compile_seconds']:.0f} s",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
