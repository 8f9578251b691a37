"""What lies in a file or folder of public weights? Arrays by name, the config beside them, and who can convert them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from svilm_jax.interop.bert import read_bert
from svilm_jax.interop.folder import FolderError
from svilm_jax.interop.source import TextSource

_TEXT, _VIDEO = ("bert",), ("vit", "videomae", "vivit")


def read_text_source(path: str | Path) -> TextSource:
    """A text tower: a folder of Hugging Face with a BERT.

    Raises:
      FolderError: see `read_arrays`; or another kind of model.
    """
    folder, document, arrays = _hugging_face(Path(path))
    if document.get("model_type") not in _TEXT:
        raise FolderError(
            f"{path}: model_type {document.get('model_type')!r}: a text tower is one of {', '.join(_TEXT)}"
        )
    return read_bert(folder, document, arrays, str(path))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file of weights, or of the shards of a folder.

    Raises:
      FolderError: nothing there that is known, or damaged. Pickled weights (pytorch_model.bin) are never read.
    """
    if path.is_dir():
        shards = sorted(path.glob("model*.safetensors"))
        if not shards:
            others = sorted(file.name for file in path.iterdir())[:8]
            raise FolderError(
                f"{path}: holds no model.safetensors, only {', '.join(others) or 'nothing'}. Weights in pickled files "
                "(*.bin, *.pt) can run code when they are read and are not; save them as safetensors"
            )
        return {name: array for shard in shards for name, array in read_arrays(shard).items()}
    if not path.is_file():
        raise FolderError(f"{path}: no such file or folder")
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise FolderError(f"{path}: cannot be read as safetensors ({error})") from error


def _hugging_face(path: Path) -> tuple[Path, Mapping[str, Any], dict[str, np.ndarray]]:
    """(folder, config.json, arrays) of a folder of Hugging Face, or of a *.safetensors inside one."""
    folder = path if path.is_dir() else path.parent
    arrays = read_arrays(path)
    try:
        document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"{folder}: needs the config.json that belongs to the weights ({error})") from error
    return folder, document, arrays
