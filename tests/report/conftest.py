"""Fixtures of the report: a random model of the real architecture on the tiny dataset, and its run folder."""

import json

import pytest

from svilm_jax.config import Config, GroupingConfig, InputConfig, ModelConfig, TextConfig, VideoConfig
from svilm_jax.evaluation import Encoder, Metric, Unit
from svilm_jax.evaluation.metrics_file import write_metrics
from svilm_jax.models.svilm import build_model
from svilm_jax.text.tokenizers import load_tokenizer

EVALUATORS = {
    "retrieval": {"split": "test"},
    "retrieval_hard": {"split": "hard_test"},
    "grounding": {"split": "test"},
    "grouping": {"split": "twins_test"},
}


@pytest.fixture(scope="session")
def report_config(moving_shapes):
    small = {"num_layers": 1, "hidden_size": 32, "num_heads": 2}
    return Config(
        model=ModelConfig(
            video=VideoConfig(num_frames=8, image_size=48, tubelet_size=(2, 12, 12), **small),
            grouping=GroupingConfig(num_groups=4, after_layers=(1,)),
            text=TextConfig(max_length=32, phrase_length=12, **small),
            embed_dim=16,
        ),
        input=InputConfig(dataset=str(moving_shapes)),
        evaluators=EVALUATORS,
    )


@pytest.fixture(scope="session")
def random_encoder(report_config):
    tokenizer = load_tokenizer("dataset", dataset=report_config.input.dataset)
    return Encoder(build_model(report_config, tokenizer.vocab_size), report_config, tokenizer, batch_size=8)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """What training leaves: metrics of every 10 steps, and the final ones."""
    folder = tmp_path_factory.mktemp("run")
    lines = [
        {"step": step, "time": 1.0 * step, "loss/total": 5.0 / step, "norm/gradient": 1.0, "learning_rate": 1e-3}
        for step in range(10, 60, 10)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    final = [
        Metric("retrieval/t2v_R1", 0.7512, Unit.FRACTION, baselines={"chance": 0.005, "oracle": 0.4321}),
        Metric("retrieval/t2v_MedR", 1.0, Unit.RANK, "text to video, median rank", higher_is_better=False),
        Metric("grounding/pointing_game", 0.66, Unit.FRACTION, baselines={"phrase_blind": 0.47}),
    ]
    write_metrics(folder / "metrics.json", final)
    return folder
