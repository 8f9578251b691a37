"""Tests of imported towers against stored outputs of transformers on PyTorch (experiments/parity.py)."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from svilm_jax.interop.importers.reading import read_video_source
from tests.interop import imported, random_weights

REFERENCE = Path(__file__).parent / "reference"
LIMIT = 1e-4
KINDS = ("bert", "vit", "videomae", "vivit")
_PREFIX = {"bert": "bert.", "vit": "vit.", "videomae": "videomae.", "vivit": "vivit."}


def _written(folder: Path, model: str, rename: Callable[[dict[str, Any], str], str] | None = None) -> dict[str, Any]:
    """A folder of Hugging Face with the weights of a reference, whose content is returned."""
    reference = json.loads((REFERENCE / f"{model}.json").read_text())
    shapes = {name: tuple(map(int, shape.split("x"))) for name, shape in reference["arrays"].items()}
    arrays = random_weights.weights(shapes)
    if rename is not None:
        arrays = {rename(reference, name): array for name, array in arrays.items()}
    _write(folder, reference["config"], arrays)
    return reference


def _write(folder: Path, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    safetensors.numpy.save_file(dict(arrays), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    if config["model_type"] == "bert":
        (folder / "vocab.txt").write_text(imported.vocabulary(config["vocab_size"]))


def _difference(folder: Path, model: str, reference: Mapping[str, Any]) -> float:
    kind = model.partition("_")[0]
    hidden = imported.last_hidden_state(kind, folder, reference["config"])
    stored = np.load(REFERENCE / f"{model}.npy")
    sample = hidden[:, :: reference["rows"], :: reference["columns"]]
    assert sample.shape == stored.shape
    return float(np.abs(sample - stored).max())


@pytest.mark.parametrize("model", [*(f"{kind}_small" for kind in KINDS), "bert_base", "vit_base"])
def test_last_hidden_state_is_that_of_transformers(tmp_path, model):
    reference = _written(tmp_path, model)
    assert _difference(tmp_path, model, reference) <= LIMIT


@pytest.mark.parametrize("kind", KINDS)
def test_names_inside_of_a_larger_model_are_read(tmp_path, kind):
    reference = _written(tmp_path, f"{kind}_small", lambda _, name: _PREFIX[kind] + name)
    assert _difference(tmp_path, f"{kind}_small", reference) <= LIMIT


@pytest.mark.parametrize("kind", ["vit", "videomae", "vivit"])
def test_names_of_transformers_5_in_memory_are_read(tmp_path, kind):
    reference = _written(tmp_path, f"{kind}_small", lambda reference, name: reference["memory"][name])
    assert any(name != new for name, new in reference["memory"].items())
    assert _difference(tmp_path, f"{kind}_small", reference) <= LIMIT


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_fused_arrays_of_the_authors_of_videomae_are_read(tmp_path, prefix):
    reference = _written(tmp_path, "videomae_small")
    arrays = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    fused = {
        "patch_embed.proj.weight": arrays["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": arrays["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": arrays["layernorm.weight"],
        "norm.bias": arrays["layernorm.bias"],
    }
    same = {
        "attention.attention.q_bias": "attn.q_bias",
        "attention.attention.v_bias": "attn.v_bias",
        "attention.output.dense.weight": "attn.proj.weight",
        "attention.output.dense.bias": "attn.proj.bias",
        "intermediate.dense.weight": "mlp.fc1.weight",
        "intermediate.dense.bias": "mlp.fc1.bias",
        "output.dense.weight": "mlp.fc2.weight",
        "output.dense.bias": "mlp.fc2.bias",
        "layernorm_before.weight": "norm1.weight",
        "layernorm_before.bias": "norm1.bias",
        "layernorm_after.weight": "norm2.weight",
        "layernorm_after.bias": "norm2.bias",
    }
    for i in range(2):
        layer = f"encoder.layer.{i}."
        fused |= {f"blocks.{i}.{theirs}": arrays[layer + ours] for ours, theirs in same.items()}
        three = [arrays[f"{layer}attention.attention.{part}.weight"] for part in ("query", "key", "value")]
        fused[f"blocks.{i}.attn.qkv.weight"] = np.concatenate(three)
    fused = {prefix + name: array for name, array in fused.items()} | {"decoder.blocks.0.norm1.weight": np.ones(4)}
    _write(tmp_path, reference["config"], fused)
    assert _difference(tmp_path, "videomae_small", reference) <= LIMIT
    assert list(read_video_source(tmp_path).converted.dropped) == ["decoder.blocks.0.norm1.weight"]


@pytest.mark.environment("minilm")
def test_real_sentences_are_as_similar_as_sentence_transformers_says():
    folder = imported.minilm_folder()
    ours, theirs = imported.sentence_vectors(folder), np.load(REFERENCE / "minilm.npy")
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() <= LIMIT
    assert np.abs(ours - theirs).max() <= LIMIT
    # Of its meaning: each of the first pairs says the same in other words.
    similar = ours @ ours.T - 2 * np.eye(len(ours))
    assert [int(row.argmax()) for row in similar[:8]] == [1, 0, 3, 2, 5, 4, 7, 6]
