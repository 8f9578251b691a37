"""Import of Hugging Face BERT weights (BERT-base, MiniLM and other models of that architecture) into the text tower."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError, read_json
from svilm_jax.interop.importers.rules import Rule, convert, dropped, linear, norm, renamed, rule, without_prefix
from svilm_jax.interop.importers.source import TextSource, architecture_of
from svilm_jax.text.tokenizers import load_tokenizer

_OF_PRETRAINING = "of BERT's own pre-training"
_OF_TENSORFLOW = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_ATTENTION = "encoder.layer.{i}.attention"


RULES: list[Rule] = [
    rule("embeddings.word_embeddings.weight", "token_embedding"),
    rule("embeddings.position_embeddings.weight", "position_embedding"),
    rule("embeddings.token_type_embeddings.weight", "segment_embedding"),
    *norm("embeddings.LayerNorm", "embedding_norm"),
    *linear(f"{_ATTENTION}.self.query", "layers.{i}.attention.query"),
    *linear(f"{_ATTENTION}.self.key", "layers.{i}.attention.key"),
    *linear(f"{_ATTENTION}.self.value", "layers.{i}.attention.value"),
    *linear(f"{_ATTENTION}.output.dense", "layers.{i}.attention.out"),
    *norm(f"{_ATTENTION}.output.LayerNorm", "layers.{i}.attention_norm"),
    *linear("encoder.layer.{i}.intermediate.dense", "layers.{i}.mlp.up"),
    *linear("encoder.layer.{i}.output.dense", "layers.{i}.mlp.down"),
    *norm("encoder.layer.{i}.output.LayerNorm", "layers.{i}.mlp_norm"),
    dropped("embeddings.position_ids", "numbers from 0, no parameter"),
    dropped("pooler.*", "the sentence vector goes directly to the projection"),
    dropped("cls.*", _OF_PRETRAINING),
]


def read_bert(folder: Path, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray], origin: str) -> TextSource:
    """Reads the text tower of a folder with model.safetensors, config.json and a vocabulary.

    Raises:
      ModelDirectoryError: an architecture other than BERT's, or arrays that do not match it.
      TokenizerError: no readable vocabulary.
    """
    kind = document.get("position_embedding_type") or "absolute"
    if kind != "absolute":
        raise ModelDirectoryError(f"{origin}: position_embedding_type {kind!r}: only absolute positions are known here")
    architecture = architecture_of(document, origin)
    arrays = without_prefix(arrays, "bert.")
    # Checkpoints converted from TensorFlow name a norm's arrays gamma and beta.
    named = renamed(arrays, lambda name: re.sub(r"LayerNorm\.(gamma|beta)$", lambda m: _OF_TENSORFLOW[m[0]], name))
    converted = convert(named, RULES, architecture.num_layers, origin)
    segments = converted.arrays["segment_embedding"]
    if len(segments) < 2:  # the tower has two rows and reads the first
        converted.arrays["segment_embedding"] = np.concatenate([segments, np.zeros_like(segments)])
        converted.invented["segment_embedding"] = "a second row of zeros, which is never read"
    converted.dropped.update(_layers_after_pooling(folder))
    return TextSource(
        origin=origin,
        architecture=architecture,
        converted=converted,
        positions=len(converted.arrays["position_embedding"]),
        pool=_pool(folder),
        tokenizer=load_tokenizer(_vocabulary(folder, origin), _lowercases(folder)),
    )


def _vocabulary(folder: Path, origin: str) -> Path:
    for name in ("tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            return folder / name
    raise ModelDirectoryError(f"{origin}: has no tokenizer.json and no vocab.txt, which a text tower needs")


def _lowercases(folder: Path) -> bool:
    """Returns the setting of tokenizer_config.json, which a vocab.txt alone does not have; BERT's default is True."""
    file = folder / "tokenizer_config.json"
    return bool(read_json(file).get("do_lower_case", True)) if file.is_file() else True


def _pool(folder: Path) -> str:
    """Returns the sentence pooling stated by sentence-transformers; BERT's [CLS] by default.

    Raises:
      ModelDirectoryError: a pooling that the text tower lacks, which would change the model.
    """
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "cls"
    said = read_json(file)
    modes = sorted(key for key, value in said.items() if key.startswith("pooling_mode_") and value is True)
    modes = modes or [f"pooling_mode_{said.get('pooling_mode')}"]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_mean": "mean"}
    known |= {"pooling_mode_cls_token": "cls", "pooling_mode_cls": "cls"}
    if len(modes) != 1 or modes[0] not in known:
        raise ModelDirectoryError(
            f"{file}: a sentence is {', '.join(modes)}: expected mean_tokens or cls_token, and no other"
        )
    return known[modes[0]]


def _layers_after_pooling(folder: Path) -> dict[str, str]:
    """Returns layers of sentence-transformers after the pooling, with the reason why they are dropped."""
    return {
        f"{part.name}/": "a layer after the pooling, replaced by the projection into the joint space"
        for part in sorted(folder.glob("[0-9]_Dense"))
    }
