"""Tests of programs: the model's outputs for every training setup, and errors for unsupported models."""

import jax
import numpy as np
import pytest
from flax import nnx

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.exporters import programs as programs_module
from svilm_jax.interop.exporters.programs import check_size, largest_difference, programs, sample_arguments
from svilm_jax.models.svilm import build_model
from svilm_jax.text.tokenizers import load_tokenizer
from tests.tiny import tiny_config, tiny_model

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


@pytest.mark.parametrize(
    "changes",
    [
        # Trained on a GPU with dropped activations: its kernel and its checkpoints are nothing to a program.
        {"model.attention": "cudnn", "model.remat": "full"},
        {"model.video.stem": (4, 2), "model.video.position_table": "joint", "model.text.pool": "mean"},
    ],
)
def test_programs_give_what_the_model_gives(changes):
    plain = {name: value for name, value in changes.items() if name not in ("model.attention", "model.remat")}
    reference, tokenizer = tiny_model(**plain).model, tiny_model().tokenizer
    video, tokens, mask = sample_arguments(programs(tiny_model())["both"], 3, tokenizer.vocab_size)
    wanted = nnx.jit(lambda model, video, tokens, mask: model(video, tokens, mask))(reference, video, tokens, mask)
    seen, read = wanted.video, wanted.text_embedding
    for scanned in (True, False):
        function = jax.jit(programs(tiny_model(**changes), scanned=scanned)["both"].function)
        found = function(video, tokens, mask)
        assert ("while" in function.lower(video, tokens, mask).as_text()) == scanned
        np.testing.assert_allclose(found["video_embedding"], seen.embedding, atol=1e-5)
        np.testing.assert_allclose(found["group_embedding"], seen.group_embedding, atol=1e-5)
        np.testing.assert_allclose(found["text_embedding"], read, atol=1e-5)
        np.testing.assert_allclose(found["similarity"], seen.embedding @ read.T, atol=1e-5)
        np.testing.assert_allclose(found["logit_scale"], wanted.logit_scale, rtol=1e-6)


def test_sample_rows_are_such_as_readers_give():
    _, tokens, mask = sample_arguments(programs(tiny_model())["both"], 50, vocab_size=9)
    assert tokens.max() == 8
    assert mask.any(axis=1).all()
    assert not (np.diff(mask.astype(int), axis=1) > 0).any()  # padding comes last
    assert len(np.unique(mask.sum(axis=1))) > 5


def test_differences_are_found_by_name():
    ours = {"a": np.zeros((2, 3)), "b": np.ones(2)}
    assert largest_difference(ours, {"b": np.array([1.0, 1.5]), "a": np.zeros((2, 3))}) == 0.5
    with pytest.raises(ModelDirectoryError, match="other names or shapes"):
        largest_difference(ours, {"a": np.zeros((3, 2)), "b": np.ones(2)})
    with pytest.raises(ModelDirectoryError, match="other names or shapes"):
        largest_difference(ours, {"a": np.zeros((2, 3))})


def test_what_is_refused(monkeypatch):
    with pytest.raises(ModelDirectoryError, match=r"'float16': expected one of"):
        programs(tiny_model(), "float16")
    localizer = tiny_config(**{"task": "localization", "model.localization.feature_dim": 8})
    model = TrainedModel(build_model(localizer, 5), localizer, load_tokenizer("builtin:moving_shapes"), step=3)
    with pytest.raises(ModelDirectoryError, match="'localization' has no towers"):
        programs(model)
    monkeypatch.setattr(programs_module, "LIMIT", 100_000)
    with pytest.raises(ModelDirectoryError, match="GiB of float32 parameters: one box must have less.*; take a bag"):
        check_size(tiny_model(), "float32", "box", "take a bag")
    check_size(tiny_model(), "bfloat16", "box", "take a bag")
    with pytest.raises(ModelDirectoryError, match="bfloat16"):
        check_size(tiny_model(), "bfloat16", "box", "take a bag", copies=2)
