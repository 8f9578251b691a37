"""Every training config in miniature, and the loss of its first step on random data.

    python -m experiments.accelerator.miniature FILE float32,bfloat16 pretrain/demo.py ...

writes `{"CONFIG DTYPE": {"loss": ..., "gradient": ...}}` to FILE as the losses are computed.
"""

import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from experiments.benchmarks.compiled_step import compile_traced, random_batch, trace
from svilm_jax.cli.config_file import read_config
from svilm_jax.config import Config, InitConfig

CONFIGS = (
    "pretrain/svilm_b.py",
    "pretrain/demo.py",
    "pretrain/captioned_videos.py",
    "finetune/retrieval.py",
    "finetune/retrieval.py:data=untrimmed,align=multilevel",
    "finetune/question_answering.py",
    "finetune/question_answering.py:data=untrimmed,align=multilevel",
    "finetune/action_recognition.py",
    "finetune/localization.py",
)
SMOKE_CONFIGS = ("pretrain/svilm_b.py",)  # compiling takes most of a miniature run
VOCAB_SIZE = 64  # enough for the letters
_THREADS = max(2, min(8, (os.cpu_count() or 1) // 2))  # compilation threads


def miniature(config: Config, dtype: str) -> Config:
    """Returns the same experiment with towers of width 32, clips of 12 frames of 32x32 and a batch of 8."""
    model, classes = config.model, ("one", "two", "three")
    video = dataclasses.replace(
        model.video,
        num_frames=12,
        image_size=32,
        tubelet_size=(2, 16, 16),
        num_layers=1,
        hidden_size=32,
        num_heads=2,
        mlp_ratio=2.0,
    )
    text = dataclasses.replace(
        model.text, max_length=16, phrase_length=8, num_layers=1, hidden_size=32, num_heads=2, max_positions=16
    )
    localization = dataclasses.replace(
        model.localization, feature_dim=16, num_steps=16, hidden_size=32, num_samples=4, num_context_samples=2
    )
    model = dataclasses.replace(
        model,
        variant="Mini",
        embed_dim=32,
        compute_dtype=dtype,
        video=video,
        text=text,
        grouping=dataclasses.replace(model.grouping, num_groups=4, after_layers=(1,)),
        head=dataclasses.replace(model.head, classes=classes if config.task != "video_text" else ()),
    )
    if config.task == "localization":
        model = dataclasses.replace(model, localization=localization)
    return dataclasses.replace(
        config,
        model=model,
        init=InitConfig(),
        input=dataclasses.replace(config.input, num_sentences=min(config.input.num_sentences, 3)),
        splice=dataclasses.replace(config.splice, block=2),
        train=dataclasses.replace(config.train, batch_size=8, steps=10, microbatches=1),
    )


def overrides_of(base: Any, changed: Any, path: str = "--config") -> list[str]:
    """Returns the command-line overrides that turn one resolved config into another."""
    if isinstance(base, dict):
        return [item for key in changed for item in overrides_of(base.get(key), changed[key], f"{path}.{key}")]
    return [] if base == changed else [f"{path}={changed}"]


def losses(file: Path, configs: Sequence[str], dtypes: Sequence[str]) -> bool:
    """Computes and writes the losses; returns whether all configs succeeded."""
    results: dict[str, dict[str, float]] = {}
    jobs: dict[str, tuple[Config, Future]] = {}
    complete = True
    with ThreadPoolExecutor(_THREADS) as pool:
        for name in configs:
            for dtype in dtypes:
                try:
                    config = miniature(read_config(f"configs/{name}", ()), dtype)
                    # A GPU would round float32 products to TF32; a CPU has one precision, and one compilation.
                    exact = dtype == "float32" and jax.default_backend() != "cpu"
                    with jax.default_matmul_precision("highest" if exact else "default"):
                        mesh, structure, traced = trace(config, VOCAB_SIZE)
                    jobs[f"{name} {dtype}"] = config, pool.submit(compile_traced, config, mesh, structure, traced, 0.0)
                except Exception:
                    complete = False
                    print(f"{name} {dtype}:\n{traceback.format_exc()}", file=sys.stderr)
        for key, (config, job) in jobs.items():
            try:
                step = job.result()
                state, batch = step.init_state(VOCAB_SIZE), step.place(random_batch(config, VOCAB_SIZE))
                _, metrics = step.compiled(state, batch)
                results[key] = {"loss": float(metrics["loss/total"]), "gradient": float(metrics["norm/gradient"])}
                file.write_text(json.dumps(results, indent=1) + "\n")
            except Exception:
                complete = False
                print(f"{key}:\n{traceback.format_exc()}", file=sys.stderr)
    return complete


if __name__ == "__main__":
    sys.exit(not losses(Path(sys.argv[1]), sys.argv[3:], sys.argv[2].split(",")))
