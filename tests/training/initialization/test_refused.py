"""Tests of starts from a checkpoint that are refused with a message that names the mistake."""

import dataclasses

import pytest

from svilm_jax.config import ConfigError, InitConfig
from svilm_jax.training.initialization import initial_params, resolve_init
from tests.tiny import tiny_config
from tests.training.initialization.runs import drawn


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"video": {"tubelet_size": (4, 8, 8)}},
            r"linear.kernel: \(384, 16\) in the checkpoint, \(768, 16\)",
        ),
        ({"video": {"stem": (2, 4)}}, r"patch_embedding.stem.layer1.bias \(32,\): not in the checkpoint"),
        ({"grouping": {"after_layers": ()}}, r"grouping.\S+ \(16,\): not in the model; .* and \d+ more"),
    ],
)
def test_parameters_that_do_not_fit_are_named(finetuning, model, message):
    start = resolve_init(finetuning(model))
    with pytest.raises(ConfigError, match=message):
        initial_params(drawn(start.config), start.loaded, start.config)


def test_a_mistake_in_what_changes_is_named(finetuning, moving_shapes):
    with pytest.raises(ConfigError, match="config.init.model.vidio: no such key; did you mean 'video'"):
        resolve_init(finetuning({"vidio": {"frames": 16}}))
    with pytest.raises(ConfigError, match="config.init.model.video.num_frame: no such key; did you mean 'num_frames'"):
        resolve_init(finetuning({"video": {"num_frame": 16}}))
    config = tiny_config(moving_shapes)
    config = dataclasses.replace(config, init=InitConfig(model={"video": {"num_frames": 16}}))
    with pytest.raises(ConfigError, match="changes the model of a checkpoint: name one"):
        resolve_init(config)


def test_a_localizer_does_not_start_from_a_checkpoint(tmp_path):
    config = dataclasses.replace(tiny_config(), task="localization", init=InitConfig(checkpoint=str(tmp_path)))
    with pytest.raises(ConfigError, match="not used with config.task='localization'"):
        resolve_init(config)
