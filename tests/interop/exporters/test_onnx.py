"""Tests of ONNX files: JAX's outputs at every batch size (in an environment with jax2onnx), and errors."""

import sys

import numpy as np
import pytest

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.exporters import onnx as onnx_module
from svilm_jax.interop.exporters import programs as programs_module
from svilm_jax.interop.exporters.onnx import export_onnx
from tests.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


@pytest.mark.environment("onnx")
def test_files_give_the_models_numbers(tmp_path):
    import onnxruntime

    # A part of every kind that a tower may have.
    changes = {"model.video.stem": (4, 2), "model.video.position_table": "joint", "model.text.pool": "mean"}
    trained = tiny_model(**changes, **{"model.grouping.assignment": "soft"})
    differences = export_onnx(trained, tmp_path)
    assert set(differences) == {"video_tower.onnx", "text_tower.onnx"}
    assert max(differences.values()) < 1e-5
    assert (tmp_path / "vocab.txt").is_file()

    session = onnxruntime.InferenceSession(tmp_path / "video_tower.onnx")
    assert [(x.name, x.shape, x.type) for x in session.get_inputs()] == [
        ("video", ["b", 8, 16, 16, 3], "tensor(uint8)")
    ]
    shapes = [("embedding", ["b", 16]), ("group_embedding", ["b", 4, 16])]
    assert [(x.name, x.shape) for x in session.get_outputs()] == shapes
    clips = np.random.default_rng(1).integers(0, 256, (7, 8, 16, 16, 3), np.uint8)
    seen = trained.model.encode_video(clips)
    embedding, groups = session.run(None, {"video": clips})
    np.testing.assert_allclose(embedding, seen.embedding, atol=1e-5)
    np.testing.assert_allclose(groups, seen.group_embedding, atol=1e-5)

    session = onnxruntime.InferenceSession(tmp_path / "text_tower.onnx")
    tokens = trained.tokenizer.encode(["a red circle", "a small blue square moves"], 28)
    (embedding,) = session.run(None, {"tokens": tokens, "mask": trained.tokenizer.mask(tokens)})
    np.testing.assert_allclose(
        embedding, trained.encoder.texts(["a red circle", "a small blue square moves"]), atol=1e-5
    )

    with pytest.raises(ModelDirectoryError, match=r"video_tower.onnx.* already exist"):
        export_onnx(trained, tmp_path)


@pytest.mark.environment("onnx")
def test_other_numbers_are_not_written(tmp_path, monkeypatch):
    given = iter(np.linspace(0, 1, 50))
    monkeypatch.setattr(onnx_module, "largest_difference", lambda ours, theirs: float(next(given)))
    with pytest.raises(ModelDirectoryError, match="video_tower: onnxruntime .* differ from JAX's by"):
        export_onnx(tiny_model(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.environment("onnx")
def test_what_cannot_be_converted_is_named(tmp_path, monkeypatch):
    import jax2onnx

    def unknown(*args, **options):
        raise NotImplementedError("no plugin for primitive 'ragged_dot'")

    monkeypatch.setattr(jax2onnx, "to_onnx", unknown)
    with pytest.raises(ModelDirectoryError, match=r"video_tower: jax2onnx .* cannot convert it .*'ragged_dot'"):
        export_onnx(tiny_model(), tmp_path / "out")


def test_without_the_libraries(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ModelDirectoryError, match="requirements/onnx.in"):
        export_onnx(tiny_model(), tmp_path / "out")


def test_more_than_a_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_module, "_libraries", lambda: (None, None))
    monkeypatch.setattr(programs_module, "LIMIT", 100_000)
    with pytest.raises(ModelDirectoryError, match="one ONNX file must have less .*; export StableHLO in bfloat16"):
        export_onnx(tiny_model(), tmp_path / "out")
