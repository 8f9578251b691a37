"""Tests of the SavedModel: JAX's outputs in a process without JAX (in an environment with TensorFlow), and errors."""

import subprocess
import sys

import numpy as np
import pytest

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.exporters import saved_model as saved_model_module
from svilm_jax.interop.exporters.saved_model import export_saved_model
from tests.tiny import tiny_model

# TensorFlow itself imports JAX where there is one.
OUTSIDE = """
import sys
sys.modules["jax"] = None
import numpy, tensorflow
read = tensorflow.saved_model.load("model").signatures["video_tower"]
numpy.save("embedding.npy", read(video=tensorflow.constant(numpy.load("video.npy")))["embedding"])
print("found:", sorted({name.split(".")[0] for name in sys.modules} & {"svilm_jax", "flax", "jaxlib"}))
"""


@pytest.mark.environment("saved-model")
def test_tensorflow_gives_the_models_numbers_without_jax(tmp_path):
    trained = tiny_model()
    differences = export_saved_model(trained, tmp_path / "model")
    assert set(differences) == {"video_tower", "text_tower", "both"}
    clips = np.random.default_rng(1).integers(0, 256, (5, 8, 16, 16, 3), np.uint8)
    np.save(tmp_path / "video.npy", clips)
    done = subprocess.run([sys.executable, "-c", OUTSIDE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("found: []\n")
    embedding = np.load(tmp_path / "embedding.npy")
    np.testing.assert_allclose(embedding, trained.model.encode_video(clips).embedding, atol=1e-5)
    with pytest.raises(ModelDirectoryError, match="exists and is not an empty folder"):
        export_saved_model(trained, tmp_path / "model")


@pytest.mark.environment("saved-model")
def test_other_numbers_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model_module, "largest_difference", lambda ours, theirs: 1e-3)
    with pytest.raises(ModelDirectoryError, match="differs from JAX by 1.0e-03"):
        export_saved_model(tiny_model(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ModelDirectoryError, match="pip install svilm_jax.tf."):
        export_saved_model(tiny_model(), tmp_path / "model")
