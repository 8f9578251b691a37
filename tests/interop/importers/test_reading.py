"""Tests of reading weight files, and of errors for unsupported ones."""

import json
import pickle

import numpy as np
import pytest
import safetensors.numpy
from flax import serialization

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.importers.pixels import PIXEL_MEAN, PIXEL_STD
from svilm_jax.interop.importers.reading import read_text_source, read_video_source
from svilm_jax.interop.importers.source import Architecture
from tests.interop.test_parity import _written as written


@pytest.fixture
def vit(tmp_path):
    written(tmp_path, "vit_small")
    return tmp_path


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pth", "model.ckpt", "array.npy"])
@pytest.mark.parametrize("read", [read_text_source, read_video_source])
def test_pickled_weights_are_never_read(tmp_path, name, read):
    (tmp_path / name).write_bytes(pickle.dumps({"cls": 1}))
    with pytest.raises(ModelDirectoryError, match="pickled files .* can run code"):
        read(tmp_path / name)
    with pytest.raises(ModelDirectoryError, match=f"no model.safetensors, only {name}. Weights in pickled files"):
        read(tmp_path)


def test_pickled_weights_under_an_innocent_name_are_not_read_either(tmp_path):
    (tmp_path / "checkpoint").write_bytes(pickle.dumps({"cls": 1}))
    np.savez(tmp_path / "vit.npz", cls=np.array([{"a": 1}], dtype=object))
    for name in ("checkpoint", "vit.npz"):
        with pytest.raises(ModelDirectoryError, match=f"{name}: cannot be read as"):
            read_video_source(tmp_path / name)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize("name", ["model.safetensors", "vit.npz", "checkpoint_3"])
def test_a_truncated_file_is_refused(vit, name, share):
    arrays = safetensors.numpy.load_file(vit / "model.safetensors")
    np.savez(vit / "vit.npz", **arrays)
    (vit / "checkpoint_3").write_bytes(serialization.msgpack_serialize(arrays))
    content = (vit / name).read_bytes()
    (vit / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelDirectoryError, match=f"{name}: cannot be read as"):
        read_video_source(vit / name)


def test_what_is_not_there_is_named(tmp_path):
    for path in ("none", "none.npz", "none.safetensors"):
        with pytest.raises(ModelDirectoryError, match=f"{path}: no such file"):
            read_video_source(tmp_path / path)


def test_config_json_decides_who_reads(vit):
    with pytest.raises(ModelDirectoryError, match="model_type 'vit': a text tower is one of bert"):
        read_text_source(vit)
    document = json.loads((vit / "config.json").read_text())
    (vit / "config.json").write_text(json.dumps({**document, "model_type": "swin"}))
    with pytest.raises(ModelDirectoryError, match="model_type 'swin': a video tower is one of vit, videomae, vivit"):
        read_video_source(vit)
    (vit / "config.json").unlink()
    with pytest.raises(ModelDirectoryError, match="needs the config.json"):
        read_video_source(vit)


def test_an_array_in_two_shards_is_refused(vit):
    arrays = safetensors.numpy.load_file(vit / "model.safetensors")
    some = {"layernorm.bias": arrays["layernorm.bias"]}
    safetensors.numpy.save_file(some, vit / "model-00002-of-00002.safetensors")
    with pytest.raises(ModelDirectoryError, match=r"layernorm\.bias is in another"):
        read_video_source(vit)


def test_shards_are_put_together(vit):
    arrays = safetensors.numpy.load_file(vit / "model.safetensors")
    whole = read_video_source(vit).converted.arrays
    names = sorted(arrays)
    (vit / "model.safetensors").unlink()
    for number, part in enumerate((names[:7], names[7:]), start=1):
        safetensors.numpy.save_file({n: arrays[n] for n in part}, vit / f"model-0000{number}-of-00002.safetensors")
    parts = read_video_source(vit).converted.arrays
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    ("said", "mean", "std"),
    [
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ({"image_mean": 0.5, "image_std": 0.25}, (0.5,) * 3, (0.25,) * 3),
        ({"do_normalize": False}, (0.0,) * 3, (1.0,) * 3),
        ({"do_normalize": False, "offset": True, "rescale_factor": 1 / 127.5}, (0.5,) * 3, (0.5,) * 3),
        # The processor would shift twice; the weights know values in [-1, 1].
        ({"offset": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_the_preprocessor_says_what_pixels_are(vit, said, mean, std):
    (vit / "preprocessor_config.json").write_text(json.dumps(said))
    pixels = read_video_source(vit).pixels
    assert (pixels.mean, pixels.std, pixels.stated_by) == (mean, std, "preprocessor_config.json")


@pytest.mark.parametrize("said", [{"image_mean": [0.5, 0.5], "image_std": 1.0}, {"image_mean": 0, "image_std": 0}, []])
def test_a_preprocessor_that_says_nothing_useful_is_refused(vit, said):
    (vit / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(ModelDirectoryError, match=r"preprocessor_config\.json: expected readable values"):
        read_video_source(vit)


@pytest.mark.parametrize(
    ("kind", "mean", "std"),
    [("vit", (0.5,) * 3, (0.5,) * 3), ("vivit", (0.5,) * 3, (0.5,) * 3), ("videomae", PIXEL_MEAN, PIXEL_STD)],
)
def test_the_kind_says_what_pixels_are_otherwise(tmp_path, kind, mean, std):
    written(tmp_path, f"{kind}_small")
    for said in (None, {"do_resize": True}):
        if said is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
        pixels = read_video_source(tmp_path).pixels
        assert (pixels.mean, pixels.std, pixels.stated_by) == (mean, std, f"the default of {kind}")


@pytest.mark.parametrize(
    ("kind", "said", "activation", "epsilon"),
    [
        ("vit", {}, "gelu", 1e-12),
        ("videomae", {}, "gelu", 1e-12),
        ("vivit", {}, "gelu_tanh", 1e-6),
        ("vivit", {"hidden_act": "relu", "layer_norm_eps": 0.5}, "relu", 0.5),
    ],
)
def test_what_a_config_does_not_say_is_the_default_of_its_kind(tmp_path, kind, said, activation, epsilon):
    document = written(tmp_path, f"{kind}_small")["config"]
    document = {key: value for key, value in document.items() if key not in ("hidden_act", "layer_norm_eps")}
    (tmp_path / "config.json").write_text(json.dumps({**document, **said}))
    expected = Architecture(2, 32, 4, 1.5, activation, epsilon)
    assert read_video_source(tmp_path).architecture == expected


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("vit", {"hidden_act": "swish"}, "hidden_act 'swish'"),
        ("vit", {"image_size": "large"}, "image_size='large': expected one number or two"),
        ("videomae", {"num_frames": None}, "num_frames and tubelet_size"),
        ("vivit", {"tubelet_size": 2}, "tubelet_size and num_frames"),
        ("vivit", {"num_hidden_layers": 3}, "missing .*layer.2"),
        ("vivit", {"num_hidden_layers": 1}, "No rule for .*layer.1"),
    ],
)
def test_configs_that_say_what_cannot_be_are_refused(tmp_path, kind, said, message):
    document = written(tmp_path, f"{kind}_small")["config"]
    (tmp_path / "config.json").write_text(json.dumps({**document, **said}))
    with pytest.raises(ModelDirectoryError, match=message):
        read_video_source(tmp_path)
