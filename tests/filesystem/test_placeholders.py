"""Tests of placeholder files in place of a model or weights: errors say what the file is."""

import shutil

import pytest

from svilm_jax.checkpoints.model_directory import (
    ModelDirectoryError,
    ModelOrigin,
    read_model_directory,
    write_model_directory,
)
from svilm_jax.interop.importers.reading import read_text_source, read_video_source
from svilm_jax.text.tokenizers import TokenizerError, load_tokenizer
from tests.tiny import tiny_model

PLACEHOLDERS = {
    "an HTML page": b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n",
    "a JSON document": b'{"error": "Repository not found"}',
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    write_model_directory(folder, tiny_model(), ModelOrigin("a test"), "card")
    return folder


@pytest.fixture
def model(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("kind", sorted(PLACEHOLDERS))
def test_an_exported_folder(model, kind):
    (model / "model.safetensors").write_bytes(PLACEHOLDERS[kind])
    with pytest.raises(
        ModelDirectoryError, match=rf"model\.safetensors: cannot be read \(it is {kind}.*copy or export"
    ):
        read_model_directory(model)


@pytest.mark.parametrize("kind", ["an HTML page", "a Git LFS pointer"])
def test_other_files_of_an_exported_folder(model, kind):
    vocabulary = (model / "vocab.txt").read_bytes()
    (model / "vocab.txt").write_bytes(PLACEHOLDERS[kind])
    with pytest.raises(ModelDirectoryError, match=f"expected a vocabulary, found {kind}"):
        read_model_directory(model)
    (model / "vocab.txt").write_bytes(vocabulary)
    (model / "config.json").write_bytes(PLACEHOLDERS[kind])
    with pytest.raises(ModelDirectoryError, match=rf"config\.json: cannot be read \(expected JSON, found {kind}"):
        read_model_directory(model)


def test_a_document_that_is_no_config_is_one_line(model):
    for content in (PLACEHOLDERS["a JSON document"], b"[" * 5000, b"\xff", b"[]", b'{"model_type": "svilm"}', b""):
        (model / "config.json").write_bytes(content)
        with pytest.raises(ModelDirectoryError, match=r"model: |config\.json: ") as caught:
            read_model_directory(model)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(PLACEHOLDERS))
@pytest.mark.parametrize("name", ["model.safetensors", "weights.npz", "checkpoint_3"])
def test_public_weights(tmp_path, kind, name):
    (tmp_path / name).write_bytes(PLACEHOLDERS[kind])
    with pytest.raises(ModelDirectoryError, match=rf"{name}: cannot be read as .*\(it is {kind}"):
        read_video_source(tmp_path / name)
    if name == "model.safetensors":
        with pytest.raises(ModelDirectoryError, match=f"it is {kind}"):
            read_text_source(tmp_path)


@pytest.mark.parametrize("kind", ["an HTML page", "a Git LFS pointer"])
@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json", "tokenizer.model"])
def test_vocabularies(tmp_path, kind, name):
    (tmp_path / name).write_bytes(PLACEHOLDERS[kind])
    with pytest.raises(TokenizerError, match=f"{name}: expected a vocabulary, found {kind}"):
        load_tokenizer(tmp_path / name)


def test_a_tokenizer_that_is_nested_too_deeply(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": ' + "[" * 5000)
    with pytest.raises(TokenizerError, match=r"not a tokenizer\.json \(nested deeper than 100 levels\)"):
        load_tokenizer(tmp_path / "tokenizer.json")
