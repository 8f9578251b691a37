"""Part 5: `svilm train` from mp4 files, compared with the step alone, and the number of cores that decoding needs."""

import dataclasses
import os
import shutil
import time

from experiments.accelerator.commands import svilm, svilm_until
from experiments.accelerator.films import Form, prepare_arguments, write_films
from experiments.accelerator.kernels import Best, best_step
from experiments.accelerator.miniature import VOCAB_SIZE as MINIATURE_WORDS
from experiments.accelerator.miniature import overrides_of
from experiments.accelerator.part import Part, run_part
from experiments.accelerator.train_step import CONFIG, step_config
from experiments.benchmarks.compiled_step import VOCAB_SIZE
from svilm_jax.cli.config_file import read_config
from svilm_jax.config import VideoConfig
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.input.shared_memory import shared_bytes

WORKERS = 14
PREFETCH = 1
EXIT_STOPPED = 75  # exit status of a training stopped by SIGTERM after a save
INPUT_SECONDS = 12.0  # duration of the measurement of the input alone


def run(part: Part) -> None:
    """Generates films, and measures the input alone and training, at the fastest batch size of part 3."""
    cores = os.cpu_count() or 1
    films, form = (12, Form(96, 72, 8, 3.0)) if part.smoke else (96, Form())
    started = time.monotonic()
    words = MINIATURE_WORDS if part.smoke else VOCAB_SIZE
    written = write_films(part.scratch / "films", films, form, min(cores, WORKERS), words)
    sizes = [file.stat().st_size for file in written[0].iterdir()]
    svilm(prepare_arguments(written, part.scratch / "data", min(cores, WORKERS)), part.seconds_left)
    part.note(films=films, form=vars(form), mean_film_bytes=sum(sizes) / films, cores=cores)
    part.note(preparation_seconds=time.monotonic() - started)
    best = best_step(part)
    workers = 1 if part.smoke else _workers(best.batch, cores)
    overrides = _overrides(part, best, workers)
    with part.attempt("input alone"):
        rate = input_rate(part, overrides)
        part.note(input_alone_clips_per_second=rate, input_alone_clips_per_second_per_worker=rate / workers)
    _train(part, best, workers, overrides)


def _workers(batch: int, cores: int) -> int:
    """Returns the number of decoding processes that cores and /dev/shm allow."""
    workers = min(WORKERS, max(cores - 2, 1))
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return workers
    while workers > 1 and shared_bytes(VideoConfig(), batch, workers, PREFETCH) > 0.9 * free:
        workers -= 1
    return workers


def _overrides(part: Part, best: Best, workers: int) -> list[str]:
    """Returns the overrides of `svilm train`: the program is that of part 3, so that it need not be compiled again."""
    base, config = read_config(CONFIG, ()), step_config(part.smoke, "B", *best)
    values = {
        "input.dataset": part.scratch / "data" / "films",
        "input.workers": workers,
        "input.prefetch": PREFETCH,
        "input.threads": 1,
        "tokenizer.path": "dataset",
        "train.log_every": 1 if part.smoke else 5,
    }
    changed = overrides_of(dataclasses.asdict(base), dataclasses.asdict(config))
    return [*changed, *(f"--config.{name}={value}" for name, value in values.items())]


def input_rate(part: Part, overrides: list[str]) -> float:
    """Returns the clips per second of the input pipeline without training."""
    from svilm_jax.parallel import make_mesh
    from svilm_jax.text.tokenizers import load_tokenizer
    from svilm_jax.training.task_input import open_input

    config = read_config(CONFIG, overrides)
    tokenizer = load_tokenizer(config.tokenizer.path, config.tokenizer.lowercase, config.input.dataset)
    data = open_input(config, tokenizer, 0, make_mesh(config.mesh))
    try:
        for _ in range(2 if part.smoke else config.input.workers + 2):  # batches decoded ahead
            next(data)
        clips, started = 0, time.perf_counter()
        while time.perf_counter() - started < (1.0 if part.smoke else INPUT_SECONDS):
            clips += len(next(data)["valid"])
        return clips / (time.perf_counter() - started)
    finally:
        data.close()


def _train(part: Part, best: Best, workers: int, overrides: list[str]) -> None:
    """Trains until the rate is steady, then stops the run by SIGTERM, as a scheduler would."""
    workdir = part.scratch / "train"
    target = 6 if part.smoke else 90

    def lines() -> list[dict[str, float]]:
        return [line for line in read_lines(workdir / "metrics.jsonl") if "clips_per_second" in line]

    def enough() -> bool:
        done = lines()
        return bool(done) and (done[-1]["step"] >= target or part.seconds_left < 25)

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
    part.note(**best._asdict(), workers=workers, steps=last["step"], clips_per_second=rate)
    part.note(data_wait_fraction=last["data_wait_fraction"], mfu=last.get("mfu"))
    alone = [
        row
        for row in part.read("train_step").get("rows", [])
        if row["side"] == "svilm_jax" and Best(row["batch"], row["remat"], row["unroll"]) == best
    ]
    if alone and not part.smoke:
        part.note(share_of_step_alone=rate / alone[0]["clips_per_second"])
        if per_worker := part.value("input_alone_clips_per_second_per_worker"):
            part.note(cores_needed=alone[0]["clips_per_second"] / per_worker)


if __name__ == "__main__":
    run_part(run)
