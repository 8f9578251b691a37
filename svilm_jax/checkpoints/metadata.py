"""Metadata of a checkpoint: what is needed to rebuild the model, and checks that a run may resume from it.

It has two parts: the dictionary that is saved with the arrays, and `selection.json`, the choices that an evaluation on
validation data makes after the checkpoint is complete.
"""

import base64
import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svilm_jax.checkpoints.errors import CheckpointError
from svilm_jax.config import Config, ConfigError, resolve
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.text.tokenizers import Tokenizer, tokenizer_from_files

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
_SELECTION = "selection.json"


def make_meta(config: Config, tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the metadata stored with the arrays: enough to rebuild the model from this folder alone."""
    files = {name: base64.b64encode(content).decode() for name, content in tokenizer.files().items()}
    return {
        "format_version": FORMAT_VERSION,
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "tokenizer": {"files": files, "lowercase": config.tokenizer.lowercase},
        "vocab_size": tokenizer.vocab_size,
    }


def saved_tokenizer(meta: Mapping[str, Any]) -> Tokenizer:
    """Rebuilds the tokenizer from the metadata of a checkpoint."""
    files = {name: base64.b64decode(content) for name, content in meta["tokenizer"]["files"].items()}
    return tokenizer_from_files(files, meta["tokenizer"]["lowercase"])


def meta_fingerprint(meta: Mapping[str, Any]) -> str:
    """Returns 16 hex digits over the meta dictionary without its fingerprint.

    It ties config, tokenizer and data position to the checksums of the arrays.
    """
    rest = {key: value for key, value in meta.items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]


def check_meta(meta: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Rejects a checkpoint of another format; raises ValueError if its parts do not belong together."""
    if meta.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: checkpoint format {meta.get('format_version')!r}, this version reads {FORMAT_VERSION}: "
            "use the version of svilm_jax that wrote it"
        )
    if meta.get("fingerprint", found := meta_fingerprint(meta)) != found:  # absent in older checkpoints
        raise ValueError(
            f"its config, tokenizer or checksums were changed after it was saved: fingerprint {meta['fingerprint']} "
            f"stored, {found} computed"
        )
    return meta


def check_same_model(saved: Mapping[str, Any], config: Config, folder: Path) -> None:
    """Rejects resuming with another model, or with another initial checkpoint; other config changes are logged.

    Raises:
      ConfigError: naming the keys that differ.
    """
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    saved = json.loads(json.dumps(dataclasses.asdict(resolve(saved))))  # with the defaults of keys added later
    changed = sorted(_differences(saved, now, "config"))
    model = [line for line in changed if line.startswith("config.model.")]
    if model:
        raise ConfigError(
            f"{folder} was trained with another model: {'; '.join(model)}. Restore these keys, or choose a new "
            "--workdir"
        )
    started, asked = saved["init"]["checkpoint"], config.init.checkpoint
    if asked and not started:
        raise ConfigError(
            f"config.init.checkpoint={asked}: not used, as {folder} holds a run that started without one; leave it "
            "out, or choose a new --workdir"
        )
    for line in changed:
        log.warning("resuming with a changed config: %s", line)


def check_same_tokenizer(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Rejects resuming with another tokenizer, which has different token ids; takes two meta dictionaries.

    Raises:
      ConfigError: the files or their settings differ.
    """
    if saved["tokenizer"] != now["tokenizer"]:
        before, after = _describe_tokenizer(saved), _describe_tokenizer(now)
        raise ConfigError(
            f"{folder} was trained with another tokenizer ({before}, now {after}): restore config.tokenizer and its "
            "file, or choose a new --workdir"
        )


def _describe_tokenizer(meta: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(meta["tokenizer"]["files"]))
    case = "lower case" if meta["tokenizer"]["lowercase"] else "cased"
    digest = hashlib.sha256(json.dumps(meta["tokenizer"], sort_keys=True).encode()).hexdigest()[:8]
    return f"{names} of {meta['vocab_size']} tokens, {case}, {digest}"


def write_selection(checkpoint: Path, grounding_block: int) -> None:
    """Records in a complete checkpoint which grouping block evaluation selected for pointing.

    Args:
      checkpoint: its folder, WORKDIR/checkpoints/STEP.
      grounding_block: number of the block, from 1; 0: the last.
    """
    with atomic_write(checkpoint / _SELECTION) as file:
        file.write_text(json.dumps({"grounding_block": grounding_block}) + "\n", encoding="utf-8")


def read_selection(checkpoint: Path) -> int:
    """Returns the grouping block selected for pointing; 0, the last, if no evaluation of the checkpoint selected one.

    A damaged file is logged: it must not prevent the model from being read.
    """
    file = checkpoint / _SELECTION
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["grounding_block"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s: names no grouping block for pointing (%s): using the last one", file, error)
        return 0


def _differences(saved: Any, now: Any, path: str) -> list[str]:
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        keys = sorted(saved.keys() | now.keys())
        return [line for key in keys for line in _differences(saved.get(key), now.get(key), f"{path}.{key}")]
    return [] if saved == now else [f"{path} was {saved!r}, is {now!r}"]
