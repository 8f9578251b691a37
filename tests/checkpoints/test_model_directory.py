"""Tests of an exported folder: the complete model, readable without this package, and rejected if damaged."""

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import svilm_jax
from svilm_jax.checkpoints.model_directory import (
    ModelDirectoryError,
    ModelOrigin,
    is_model_directory,
    read_model_directory,
    write_model_directory,
)
from svilm_jax.interop.exporters.precision import rounding_error
from svilm_jax.models.parameters import named, parameters
from tests.tiny import tiny_model

TEXTS = ["a small red square", "a blue ring is spinning over a striped floor"]
ORIGIN = ModelOrigin("a test", "apache-2.0", "nothing", {"retrieval/t2v_R1": 0.5})


@pytest.fixture(scope="module")
def trained():
    return tiny_model()


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    write_model_directory(folder, trained, ORIGIN, "# a card\n")
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def clips(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 16, 16, 3), np.uint8)


def test_the_same_model_comes_back(trained, folder):
    again = svilm_jax.load(folder)
    for name, array in named(parameters(trained.model)).items():
        np.testing.assert_array_equal(named(parameters(again.model))[name], array, err_msg=name)
    np.testing.assert_allclose(again.embed_text(TEXTS), trained.embed_text(TEXTS), atol=1e-6)
    video = list(clips())
    np.testing.assert_allclose(again.embed_video(video), trained.embed_video(video), atol=1e-6)
    assert (again.config, again.step, again.grounding_block) == (trained.config, 7, 1)
    assert again.tokenizer.fingerprint == trained.tokenizer.fingerprint


def test_numpy_alone_reads_it(folder, trained):
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    assert arrays.keys() == named(parameters(trained.model)).keys()
    document = json.loads((folder / "config.json").read_text())
    assert document["origin"]["license"] == "apache-2.0"
    assert (folder / "README.md").read_text() == "# a card\n"
    assert (folder / "vocab.txt").is_file()


WITHOUT_TRAINING = """
import sys
import svilm_jax
assert not any(name in sys.modules for name in ("jax", "flax", "numpy"))
model = svilm_jax.load(sys.argv[1])
import numpy as np
model.embed_video(np.zeros((5, 20, 30, 3), np.uint8))
model.embed_text("a red square")
model.ground(np.zeros((5, 20, 30, 3), np.uint8), "a red square")
heavy = ("orbax", "grain", "tensorflow_datasets", "tensorflow", "spacy", "torch", "svilm_data", "array_record", "clu")
found = sorted(name for name in sys.modules if name.split(".")[0] in heavy)
assert not found, found
assert not any(name.startswith(("svilm_jax.training", "svilm_jax.evaluation")) for name in sys.modules)
"""


def test_nothing_of_training_is_imported(folder):
    done = subprocess.run([sys.executable, "-c", WITHOUT_TRAINING, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_bfloat16_is_half_as_large_and_its_error_is_stated(trained, folder, tmp_path):
    write_model_directory(tmp_path / "half", trained, ORIGIN, "", "bfloat16")
    sizes = [(f / "model.safetensors").stat().st_size for f in (tmp_path / "half", folder)]
    assert sizes[0] < 0.55 * sizes[1]
    again = read_model_directory(tmp_path / "half")
    assert all(array.dtype == jnp.float32 for array in named(parameters(again.model)).values())
    error = rounding_error(trained, "bfloat16")
    assert 1e-5 < error.largest < 0.1
    assert 0.99 < error.cosine < 1.0
    assert np.abs(again.embed_text(TEXTS) - trained.embed_text(TEXTS)).max() < 2 * error.largest
    assert rounding_error(trained, "float32").largest == 0.0


def test_nothing_is_overwritten(trained, folder, tmp_path):
    with pytest.raises(ModelDirectoryError, match="not an empty folder; give another --out"):
        write_model_directory(folder, trained, ORIGIN, "")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelDirectoryError, match="not an empty folder"):
        write_model_directory(tmp_path / "file", trained, ORIGIN, "")
    with pytest.raises(ModelDirectoryError, match="float16"):
        write_model_directory(tmp_path / "other", trained, ORIGIN, "", "float16")
    (tmp_path / "empty").mkdir()
    write_model_directory(tmp_path / "empty", trained, ORIGIN, "")
    assert is_model_directory(tmp_path / "empty")


def test_a_full_disk_is_told_and_leaves_nothing(trained, tmp_path, monkeypatch):
    def full(*_, **__):
        raise safetensors.SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(ModelDirectoryError, match="No space left on device.*make room"):
        write_model_directory(tmp_path / "model", trained, ORIGIN, "")
    assert list(tmp_path.iterdir()) == []


def changed(folder, **fields):
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, **fields}))


def test_a_damaged_folder_is_refused_with_its_reason(copy):
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelDirectoryError, match=r"model\.safetensors: cannot be read"):
        read_model_directory(copy)
    (copy / "model.safetensors").write_bytes(weights)
    (copy / "vocab.txt").unlink()
    with pytest.raises(ModelDirectoryError, match=r"vocab\.txt"):
        read_model_directory(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelDirectoryError, match=r"config\.json: cannot be read"):
        read_model_directory(copy)
    (copy / "config.json").unlink()
    with pytest.raises(ModelDirectoryError, match=r"but no config\.json"):
        read_model_directory(copy)


def extend(file):
    file.write_text(file.read_text() + "one more\n")


def cut(file):
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def swap(file):
    lines = file.read_text().splitlines()
    lines[-1], lines[-2] = lines[-2], lines[-1]
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("change", [extend, cut, swap])
def test_another_vocabulary_is_refused(copy, change):
    change(copy / "vocab.txt")
    with pytest.raises(ModelDirectoryError, match=r"the tokenizer \(vocab\.txt .*changed after the model was written"):
        read_model_directory(copy)


def test_an_edited_config_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())["config"]
    config["model"]["video"]["activation"] = "gelu"
    changed(copy, config=config)
    with pytest.raises(ModelDirectoryError, match=r"config\.model in config\.json changed after the model was written"):
        read_model_directory(copy)


def test_other_parameters_of_the_same_shapes_are_refused(copy):
    arrays = safetensors.numpy.load_file(copy / "model.safetensors")
    arrays["text_projection.kernel"] = arrays["text_projection.kernel"][::-1].copy()
    safetensors.numpy.save_file(arrays, copy / "model.safetensors")
    with pytest.raises(ModelDirectoryError, match=r"model\.safetensors changed after the model was written"):
        read_model_directory(copy)


def test_a_folder_of_an_earlier_version_is_read_with_a_warning(copy, caplog):
    document = json.loads((copy / "config.json").read_text())
    del document["fingerprint"]
    (copy / "config.json").write_text(json.dumps(document))
    read_model_directory(copy)
    assert "without a fingerprint" in caplog.text


def test_an_export_has_the_fingerprint_of_its_model_unless_it_is_rounded(trained, folder, tmp_path):
    assert read_model_directory(folder).fingerprint == trained.fingerprint
    write_model_directory(tmp_path / "half", trained, ORIGIN, "", "bfloat16")
    assert read_model_directory(tmp_path / "half").fingerprint.differing(trained.fingerprint) == ("parameters",)


def test_other_formats_and_other_models_are_refused(copy):
    changed(copy, format_version=9)
    with pytest.raises(ModelDirectoryError, match="format 9, this version reads 2"):
        read_model_directory(copy)
    changed(copy, model_type="bert")
    with pytest.raises(ModelDirectoryError, match="`svilm import` makes one"):
        read_model_directory(copy)


def test_files_outside_the_folder_are_not_read(copy):
    (copy.parent / "vocab.txt").write_text("[PAD]\n")
    changed(copy, tokenizer={"files": ["../vocab.txt"], "lowercase": True})
    with pytest.raises(ModelDirectoryError):
        read_model_directory(copy)


def test_arrays_that_do_not_fit_are_listed_on_both_sides(copy):
    arrays = safetensors.numpy.load_file(copy / "model.safetensors")
    arrays["stranger"] = arrays.pop("log_scale")
    arrays["text_projection.kernel"] = arrays["text_projection.kernel"][:, :5]
    safetensors.numpy.save_file(arrays, copy / "model.safetensors")
    with pytest.raises(ModelDirectoryError) as told:
        read_model_directory(copy)
    for part in (
        "stranger (): not in the model",
        "log_scale (): not in the file",
        "text_projection.kernel: (16, 5) in the file, (16, 16) in the model",
    ):
        assert part in str(told.value)
