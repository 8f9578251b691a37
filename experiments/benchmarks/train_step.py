"""Train-step benchmark: the real step with the full objective, compared with the same architecture in PyTorch.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python -m experiments.benchmarks.train_step --variant S --frames 16 \\
        --size 112 --batch 8 --peer --out experiments/results/train_step_cpu.json

Both sides do the same work in one process: splicing, both towers, three losses, gradients, clipping, SGD with
momentum; float32 on CPUs. The peer (torch_peer.py) starts from the same parameters; before anything is timed its loss
and gradients must equal ours. It runs eagerly and compiled (`torch.compile`), and the faster one is the reference.
The sides take turns of three steps each, of which the first is not counted: in training, steps follow each other
without a pause, and the first step after a pause allocates its memory again (on CPUs without large pages, see the
variable above, that takes as long as half a step). Times are medians over all turns. For GPUs see
`experiments/accelerator`.

  model FLOPs  matrix products of the method, counted analytically (svilm_jax/profiling/model_flops.py); nothing twice
  MFU          model FLOPs per second, over the rate of a matrix product of the same dtype measured in the same run
  HFU          the same with all computed products, including rematerialization (counted in the jaxpr)

`--curve` repeats ours for other numbers of frames, image sizes, batch sizes and groups, and plots the cost.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.compiled_step import VOCAB_SIZE, CompiledStep, compile_step, random_batch
from svilm_jax.cli.config_file import read_config
from svilm_jax.models.svilm import compute_dtype
from svilm_jax.objectives import build_objectives
from svilm_jax.profiling.device_specs import matmul_rate
from svilm_jax.training.loss import cut_and_paste, encode, loss_of

CURVES = {"frames": (4, 8, 16, 32), "size": (64, 96, 128, 160), "batch": (2, 4, 8, 16), "groups": (8, 16, 32, 64)}


@dataclasses.dataclass
class Ours:
    """This project's side: the compiled step, a function that runs it once, and the values that the peer must match."""

    step: CompiledStep
    run: Callable[[], None]
    params: Any
    batch: dict[str, np.ndarray]
    loss: Callable[..., Any]


def main() -> None:
    """Measures, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="S", choices=("Ti", "S", "B", "L"))
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112, help="pixels, height and width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--groups", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the config, such as model.remat=dots"
    )
    parser.add_argument("--peer", action="store_true", help="also time PyTorch (requirements/bench.in)")
    parser.add_argument("--eager", action="store_true", help="the peer without torch.compile only")
    parser.add_argument("--curve", action="store_true", help="also the cost against frames, size, batch and groups")
    parser.add_argument("--out", type=Path, help="also write everything to this JSON file")
    args = parser.parse_args()
    shape = {"frames": args.frames, "size": args.size, "batch": args.batch, "groups": args.groups}
    ours = build(args.variant, shape, args.set)
    sides = {"svilm_jax": ours.run} | (peers(ours, args.eager) if args.peer else {})
    seconds = timed(sides, args.repeats)
    size = 2048 if jax.default_backend() == "cpu" else 8192
    rate = matmul_rate(jax.local_devices()[0], compute_dtype(ours.step.config.model), size, 1.0)
    rows = [row(name, taken, ours, rate) for name, taken in seconds.items()]
    for line in rows:
        print(
            "  ".join(f"{key} {value:,.4g}" if isinstance(value, float) else f"{value}" for key, value in line.items())
        )
    ratio = None
    if args.peer:
        best = min((taken, name) for name, taken in seconds.items() if name != "svilm_jax")
        ratio = best[0] / seconds["svilm_jax"]
        print(f"svilm_jax processes {ratio:.2f} times the clips per second of the fastest peer ({best[1]})")
    points = curve(args.variant, shape, args.set, args.repeats) if args.curve else []
    if args.out:
        document = {
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "machine": platform.machine(),
            "jax": jax.__version__,
            "variant": args.variant,
            **shape,
            "set": args.set,
            "matmul_flops_per_second": rate,
            "rows": rows,
            "ratio_to_fastest_peer": ratio,
            "curve": points,
        }
        args.out.write_text(json.dumps(document, indent=1) + "\n")
        if points:
            draw(points, args.out.with_suffix(".png"))


def build(variant: str, shape: dict[str, int], changes: list[str]) -> Ours:
    """Compiles the step of the paper's config at this size, with one random batch on the device."""
    keys = {"frames": "model.video.num_frames", "size": "model.video.image_size", "batch": "train.batch_size"}
    keys["groups"] = "model.grouping.num_groups"
    fixed = ["model.remat=none", "optimizer.name=sgd", "train.steps=1000", f"splice.block={min(8, shape['batch'])}"]
    overrides = [f"--config.{keys[name]}={value}" for name, value in shape.items()]
    overrides += [f"--config.{change}" for change in (*fixed, *changes)]
    config = read_config(f"configs/pretrain/svilm_b.py:variant={variant}", overrides)
    step = compile_step(config)
    batch = random_batch(config)
    state, placed = step.init_state(), step.place(batch)
    params = jax.tree.map(np.asarray, state.params)
    kept = [state]
    objectives = build_objectives(config.objectives, config)

    def run() -> None:
        kept[0], _ = step.time(kept[0], placed, 1)

    def loss(params: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the loss of the batch, spliced by `key`, and the spliced batch."""
        rows = cut_and_paste(config, {name: jnp.asarray(array) for name, array in batch.items()}, key)
        outputs = encode(config, step.structure, params, rows, key)
        return loss_of(config, objectives, outputs, rows, key)[0], rows

    return Ours(step, run, params, batch, loss)


def peers(ours: Ours, eager: bool) -> dict[str, Callable[[], Any]]:
    """Returns the PyTorch steps, after checking that loss and gradients equal those of this project."""
    from experiments.benchmarks.torch_peer import Peer, copy_parameters, make_train_step

    config = ours.step.config
    peer = Peer(config, VOCAB_SIZE)
    copy_parameters(peer, ours.params)
    check(peer, ours)
    steps = {"torch": make_train_step(peer, config, ours.batch, "cpu", compiled=False)}
    return steps if eager else steps | {"torch.compile": make_train_step(peer, config, ours.batch, "cpu", True)}


def check(peer: Any, ours: Ours) -> None:
    """Raises AssertionError unless the peer has the same loss and gradients, in float32 on the CPU."""
    import torch

    key = jax.random.key(3)
    with jax.default_device(jax.devices("cpu")[0]):
        (value, rows), slopes = jax.value_and_grad(ours.loss, has_aux=True)(jax.tree.map(jnp.asarray, ours.params), key)
    arrays = {name: torch.from_numpy(np.array(rows[name])) for name in ("video", "text", "nouns", "splice_mask")}
    loss = peer({**arrays, "text": arrays["text"].long(), "nouns": arrays["nouns"].long()})
    loss.backward()
    tolerance = 1e-4 if compute_dtype(ours.step.config.model) == jnp.float32 else 3e-2
    np.testing.assert_allclose(loss.item(), float(value), rtol=tolerance)
    theirs = float(torch.stack([p.grad.square().sum() for p in peer.parameters()]).sum().sqrt())
    norm = float(jnp.sqrt(sum(jnp.sum(jnp.square(s)) for s in jax.tree.leaves(slopes))))
    np.testing.assert_allclose(theirs, norm, rtol=10 * tolerance)
    print(f"loss {loss.item():.5f} of the peer, {float(value):.5f} ours; gradient {theirs:.5f} and {norm:.5f}")


def timed(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Returns the median seconds per step of each side, over `repeats` turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()  # compiles the remaining functions
    for _ in range(repeats):
        for name, run in sides.items():
            run()
            for _ in range(2):
                started = time.perf_counter()
                run()
                found[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def row(name: str, seconds: float, ours: Ours, rate: float) -> dict[str, Any]:
    """Returns one row of the table."""
    clips = ours.step.config.train.batch_size
    model = ours.step.model_flops / seconds
    line: dict[str, Any] = {"side": name, "seconds": seconds, "clips_per_second": clips / seconds}
    line |= {"model_tflops_per_second": model / 1e12, "mfu": model / rate}
    if name == "svilm_jax":
        line |= {"hfu": ours.step.hardware_flops / seconds / rate, "compile_seconds": ours.step.compile_seconds}
        line["peak_gib"] = ours.step.peak_bytes / 2**30
    return line


def curve(variant: str, shape: dict[str, int], changes: list[str], repeats: int) -> list[dict[str, Any]]:
    """Measures time and memory of the step while varying one size at a time."""
    points = []
    for axis, values in CURVES.items():
        for value in values:
            ours = build(variant, {**shape, axis: value}, changes)
            seconds = timed({"svilm_jax": ours.run}, repeats)["svilm_jax"]
            points.append({"axis": axis, "value": value, "seconds": seconds, "peak_gib": ours.step.peak_bytes / 2**30})
            print(f"{axis} {value}: {seconds:.3f} s, {points[-1]['peak_gib']:.2f} GiB", flush=True)
    return points


def draw(points: list[dict[str, Any]], file: Path) -> None:
    """Plots time and memory over each size."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(CURVES), figsize=(3.2 * len(CURVES), 3), layout="constrained")
    for place, (axis, name) in enumerate(zip(axes, CURVES, strict=True)):
        own = [p for p in points if p["axis"] == name]
        axis.plot([p["value"] for p in own], [p["seconds"] for p in own], "o-", color="tab:blue")
        axis.set(xlabel=name, ylim=(0, None))
        memory = axis.twinx()
        memory.plot([p["value"] for p in own], [p["peak_gib"] for p in own], "s--", color="tab:orange")
        memory.set_ylim(0, None)
        if place == 0:
            axis.set_ylabel("seconds per step", color="tab:blue")
        if place == len(CURVES) - 1:
            memory.set_ylabel("peak GiB", color="tab:orange")
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
