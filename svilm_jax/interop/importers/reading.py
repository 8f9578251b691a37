"""Readers of public weight files and folders: arrays by name, the accompanying config, and the matching converter."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import serialization

from svilm_jax.checkpoints.model_directory import ModelDirectoryError, read_json
from svilm_jax.filesystem.placeholders import unreadable
from svilm_jax.interop.importers.bert import read_bert
from svilm_jax.interop.importers.flax_vit import read_flax_vit
from svilm_jax.interop.importers.source import TextSource, VideoSource
from svilm_jax.interop.importers.videomae import read_videomae
from svilm_jax.interop.importers.vit import read_vit
from svilm_jax.interop.importers.vivit import read_vivit

_TEXT = {"bert": read_bert}
_VIDEO = {"vit": read_vit, "videomae": read_videomae, "vivit": read_vivit}
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy")
_NO_PICKLES = (
    "Weights in pickled files (*.bin, *.pt) can run code when loaded, and are not read; save them as safetensors"
)


def read_text_source(path: str | Path) -> TextSource:
    """Reads a text tower: a Hugging Face folder with a BERT.

    Raises:
      ModelDirectoryError: see `read_arrays`; or another kind of model.
    """
    folder, document, arrays = _hugging_face(Path(path))
    kind = document.get("model_type")
    if kind not in _TEXT:
        raise ModelDirectoryError(f"{path}: model_type {kind!r}: a text tower is one of {', '.join(_TEXT)}")
    return _TEXT[kind](folder, document, arrays, str(path))


def read_video_source(path: str | Path) -> VideoSource:
    """Reads a video tower.

    Args:
      path: a Hugging Face folder or a *.safetensors in one, with a ViT, VideoMAE or ViViT according to its config.json;
        a *.npz of big_vision or vision_transformer; or else a checkpoint of scenic, which is msgpack under any name.

    Raises:
      ModelDirectoryError: see `read_arrays`; or another kind of model.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".safetensors":
        folder, document, arrays = _hugging_face(path)
        kind = document.get("model_type")
        if kind not in _VIDEO:
            raise ModelDirectoryError(f"{path}: model_type {kind!r}: a video tower is one of {', '.join(_VIDEO)}")
        return _VIDEO[kind](folder, document, arrays, str(path))
    _check_file(path)
    return read_flax_vit(_read_npz(path) if path.suffix == ".npz" else _read_msgpack(path), str(path))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of a weight file, or of the shards of a folder.

    Raises:
      ModelDirectoryError: no known format, or damaged. Pickled weights (pytorch_model.bin) are never read.
    """
    if path.is_dir():
        shards = sorted(path.glob("model*.safetensors"))
        if not shards:
            others = sorted(file.name for file in path.iterdir())[:8]
            raise ModelDirectoryError(
                f"{path}: no model.safetensors, only {', '.join(others) or 'nothing'}. {_NO_PICKLES}"
            )
        arrays: dict[str, np.ndarray] = {}
        for shard in shards:
            read = read_arrays(shard)
            if twice := arrays.keys() & read.keys():
                raise ModelDirectoryError(f"{shard}: {min(twice)} is in another of {path}/model*.safetensors, too")
            arrays |= read
        return arrays
    _check_file(path)
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelDirectoryError(f"{path}: cannot be read as safetensors ({unreadable(path, error)})") from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ModelDirectoryError(f"{path}: no such file or folder")
    if path.suffix in _PICKLED:
        raise ModelDirectoryError(f"{path}: {_NO_PICKLES}")


def _read_npz(path: Path) -> dict[str, object]:
    """Reads the arrays of a *.npz; object arrays, which would have to be unpickled, are rejected."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelDirectoryError(f"{path}: cannot be read as npz ({unreadable(path, error)})") from error
    # NumPy has no bfloat16 and stores it as two opaque bytes.
    return {name: x.view(jnp.bfloat16) if x.dtype == np.dtype("V2") else x for name, x in arrays.items()}


def _read_msgpack(path: Path) -> dict[str, object]:
    """Reads the leaves of a Flax checkpoint, keyed by their paths, joined by slashes."""
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
        if not isinstance(tree, dict):
            raise ValueError(f"a {type(tree).__name__} where a tree of arrays is expected")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError, RecursionError) as error:
        raise ModelDirectoryError(
            f"{path}: cannot be read as a Flax msgpack checkpoint ({unreadable(path, error)}). Other weights are "
            "a folder with model.safetensors and config.json, or a *.npz"
        ) from error
    flat: dict[str, object] = {}

    def walk(branch: object, way: str) -> None:
        if not isinstance(branch, dict):
            flat[way] = branch
            return
        for key, value in branch.items():
            walk(value, f"{way}/{key}" if way else str(key))

    walk(tree, "")
    return flat


def _hugging_face(path: Path) -> tuple[Path, Mapping[str, Any], dict[str, np.ndarray]]:
    """Returns (folder, config.json, arrays) of a Hugging Face folder, or of a *.safetensors inside one."""
    folder = path if path.is_dir() else path.parent
    arrays = read_arrays(path)
    if not (folder / "config.json").is_file():
        raise ModelDirectoryError(f"{folder}: needs the config.json that belongs to the weights")
    return folder, read_json(folder / "config.json"), arrays
