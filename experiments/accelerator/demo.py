"""Part 6: the demo on this device, the same config and figures as on two CPU cores."""

import importlib.util
import os
from pathlib import Path

from experiments.accelerator.commands import svilm
from experiments.accelerator.part import Part, run_part
from svilm_jax.evaluation.metrics_file import read_scalars

# spaCy's noun phrases of the captions of moving shapes, for machines without spaCy (written by `wheels.sh`).
PHRASES = Path(__file__).parent / "carried" / "moving_shapes_phrases.json"
SMOKE_SPLITS = {
    "train": 16,
    "validation": 8,
    "test": 8,
    "hard_test": 8,
    "twins_test": 4,
    "untrimmed_test": 2,
    "untrimmed_train": 2,
}
HEADLINES = (
    "retrieval/t2v_R1",
    "retrieval/t2v_R10",
    "retrieval_hard/t2v_R1",
    "grounding/pointing_game",
    "grounding/pointing_game_phrase_blind",
    "grouping/tubelet_accuracy",
    "grouping/tubelet_accuracy_raw_pixels",
    "grouping/scene_cut_f1",
)
SMOKE = (
    "--config.train.steps=2",
    "--config.train.batch_size=8",
    "--config.train.log_every=1",
    "--config.model.video.num_layers=1",
    "--config.model.grouping.after_layers=(1,)",
    "--config.model.text.num_layers=1",
)


def run(part: Part) -> None:
    """Prepares moving shapes, trains and evaluates."""
    data, workdir = part.scratch / "shapes", part.scratch / "demo"
    prepare = ["prepare", "moving_shapes", f"--out={data}", f"--workers={min(os.cpu_count() or 1, 16)}"]
    if PHRASES.is_file():
        prepare.append(f"--phrases={PHRASES}")
    elif importlib.util.find_spec("spacy") is None:
        raise RuntimeError(
            f"neither spaCy nor {PHRASES.name}: run experiments/accelerator/wheels.sh on a machine with spaCy"
        )
    if part.smoke:
        prepare += [f"--size={name}={count}" for name, count in SMOKE_SPLITS.items()]
    part.note(preparation_seconds=svilm(prepare, part.seconds_left))
    train = ["train", "--config=configs/pretrain/demo.py", f"--workdir={workdir}"]
    train += [f"--config.input.dataset={data / 'moving_shapes'}", *(SMOKE if part.smoke else ())]
    seconds = svilm(train, part.seconds_left)
    part.note(seconds=seconds, command=" ".join(["svilm", *train[:2]]))
    figures = read_scalars(workdir / "metrics.json")
    part.note(figures={name: figures[name] for name in HEADLINES if name in figures} | {"seconds": seconds})
    part.note(metrics=figures)


if __name__ == "__main__":
    run_part(run)
