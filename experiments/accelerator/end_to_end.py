"""Part 5: `svilm train` from mp4 files, compared with the step alone, and the number of cores that decoding needs."""

import os
import shutil
import time
from typing import Any

from experiments.accelerator.commands import svilm, svilm_until
from experiments.accelerator.films import Form, prepare_arguments, write_films
from experiments.accelerator.kernels import best_step
from experiments.accelerator.part import Part, run_part
from experiments.accelerator.train_step import CONFIG
from svilm_jax.input.shared_memory import shared_bytes
from svilm_jax.training.metric_writers import read_lines

WORKERS = 14
PREFETCH = 1
EXIT_STOPPED = 75  # of a training that SIGTERM ended after a save
INPUT_SECONDS = 12.0  # that the input alone is measured


def run(part: Part) -> None:
    """Makes films, measures the input alone, then training, for the fastest batch of part 3."""
    cores = os.cpu_count() or 1
    films, form = (12, Form(96, 72, 8, 3.0)) if part.smoke else (96, Form())
    started = time.monotonic()
    written = write_films(part.scratch / "films", films, form, min(cores, WORKERS))
    sizes = [file.stat().st_size for file in written[0].iterdir()]
    svilm(prepare_arguments(written, part.scratch / "data", min(cores, WORKERS)), part.seconds_left)
    part.note(films=films, form=vars(form), mean_film_bytes=sum(sizes) / films, cores=cores)
    part.note(preparation_seconds=time.monotonic() - started)
    batch, remat = best_step(part)
    workers = 1 if part.smoke else _workers(batch, cores)
    overrides = _overrides(part, batch, remat, workers)
    with part.attempt("input alone"):
        rate = input_rate(part, overrides)
        part.note(input_alone_clips_per_second=rate, input_alone_clips_per_second_per_worker=rate / workers)
    _train(part, batch, remat, workers, overrides)


def _workers(batch: int, cores: int) -> int:
    """Returns as many decoding processes as cores and /dev/shm have room for."""
    from svilm_jax.config import VideoConfig

    workers = min(WORKERS, max(cores - 2, 1))
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return workers
    while workers > 1 and shared_bytes(VideoConfig(), batch, workers, PREFETCH) > 0.9 * free:
        workers -= 1
    return workers


def _overrides(part: Part, batch: int, remat: str, workers: int) -> list[str]:
    values: dict[str, Any] = {
        "input.dataset": part.scratch / "data" / "films",
        "input.workers": workers,
        "input.prefetch": PREFETCH,
        "input.threads": 1,
        "tokenizer.path": "dataset",
        "train.batch_size": batch,
        "train.steps": 1000,
        "train.log_every": 5,
        "model.remat": remat,
    }
    if part.smoke:
        values |= {"model.variant": "Mini", "model.embed_dim": 32, "splice.block": 2, "train.log_every": 1}
        video = {"frames": 12, "size": 32, "layers": 1, "width": 32, "heads": 2}
        text = {"length": 16, "noun_length": 8, "layers": 1, "width": 32, "heads": 2, "positions": 16}
        values |= {f"model.video.{name}": value for name, value in video.items()}
        values |= {f"model.text.{name}": value for name, value in text.items()}
        values |= {"model.grouping.num_groups": 4, "model.grouping.after_layers": "(1,)", "train.batch_size": 4}
    return [f"--config.{name}={value}" for name, value in values.items()]


def input_rate(part: Part, overrides: list[str]) -> float:
    """Returns the clips per second that the input gives when nothing waits for anything else."""
    from svilm_jax.config_file import read_config
    from svilm_jax.input.tokenization import load_tokenizer
    from svilm_jax.parallel import make_mesh
    from svilm_jax.training.inputs import open_input

    config = read_config(CONFIG, overrides)
    tokenizer = load_tokenizer(config.tokenizer.path, config.tokenizer.lowercase, config.input.dataset)
    data = open_input(config, tokenizer, 0, make_mesh(config.mesh))
    try:
        for _ in range(2 if part.smoke else config.input.workers + 2):  # what was decoded before anybody asked
            next(data)
        clips, started = 0, time.perf_counter()
        while time.perf_counter() - started < (1.0 if part.smoke else INPUT_SECONDS):
            clips += len(next(data)["valid"])
        return clips / (time.perf_counter() - started)
    finally:
        data.close()


def _train(part: Part, batch: int, remat: str, workers: int, overrides: list[str]) -> None:
    """Trains until the rate is steady, then ends the run by SIGTERM, as a scheduler would."""
    workdir = part.scratch / "train"
    wanted = 6 if part.smoke else 90

    def lines() -> list[dict[str, float]]:
        return [line for line in read_lines(workdir / "metrics.jsonl") if "clips_per_second" in line]

    def enough() -> bool:
        done = lines()
        return bool(done) and (done[-1]["step"] >= wanted or part.seconds_left < 25)

    status = svilm_until(
        ["train", f"--config={CONFIG}", f"--workdir={workdir}", *overrides],
        enough,
        part.seconds_left,
        part.scratch / "train.log",
    )
    if status != EXIT_STOPPED:
        part.fail("SIGTERM", f"exit status {status}, expected {EXIT_STOPPED}")
    last = lines()[-1]
    rate = last["clips_per_second"]
    part.note(batch=batch, remat=remat, workers=workers, steps=last["step"], clips_per_second=rate)
    part.note(data_wait_fraction=last["data_wait_fraction"], mfu=last.get("mfu"))
    alone = [
        row
        for row in part.read("train_step").get("rows", [])
        if row["side"] == "svilm_jax" and row["batch"] == batch and row["remat"] == remat
    ]
    if alone and not part.smoke:
        part.note(share_of_step_alone=rate / alone[0]["clips_per_second"])
        if per_worker := part.value("input_alone_clips_per_second_per_worker"):
            part.note(cores_needed=alone[0]["clips_per_second"] / per_worker)


if __name__ == "__main__":
    run_part(run)
