"""StableHLO export: programs with embedded parameters that run with JAX and without this package.

    video_tower.stablehlo, text_tower.stablehlo, both.stablehlo
    programs.json       inputs, outputs and sizes of each, special token ids, and the versions that wrote them
    run_stablehlo.py    runs one; its docstring specifies pixels and token ids
    vocab.txt, ...      the tokenizer's files

One file serves CPU, NVIDIA GPU and TPU and every batch size (`jax.export`). Compatibility is as guaranteed by JAX:
later releases read the files for at least six months.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
from jax import export

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.exporters.programs import Program, check_size, programs, symbolic_arguments

PLATFORMS = ("cpu", "cuda", "tpu")
FORMAT_VERSION = 1
_DOCUMENT, _RUNNER, _ENDING = "programs.json", "run_stablehlo.py", ".stablehlo"


def export_stablehlo(trained: TrainedModel, out: str | Path, dtype: str = "float32") -> list[Path]:
    """Writes the programs, their description and the script that runs them.

    `both` repeats the parameters of both towers, so that applications of a single tower need only the smaller file.

    Args:
      trained: the model to export.
      out: a folder, created if missing, that contains none of these files.
      dtype: `float32` or `bfloat16`, of parameters and computation; inputs and outputs are the same for both.

    Returns:
      The files, programs first.

    Raises:
      ModelDirectoryError: a file exists already or cannot be written; 2 GiB of parameters or more; flatbuffers is
        missing; a model without towers.
    """
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise ModelDirectoryError("StableHLO programs are written by flatbuffers: pip install flatbuffers") from error
    out, made = Path(out), programs(trained, dtype)
    way = "export in bfloat16, which halves them" if dtype == "float32" else "`svilm export` them without programs"
    check_size(trained, dtype, "StableHLO file", way)
    tokenizer = trained.tokenizer.files()
    files = [out / name for name in (*(name + _ENDING for name in made), _DOCUMENT, _RUNNER, *sorted(tokenizer))]
    existing = [file.name for file in files if file.exists()]
    if existing:
        raise ModelDirectoryError(f"{out}: {', '.join(existing)} already exist; give another folder, or remove them")
    described = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, program in made.items():
            exported = _export(program)
            size = (out / (name + _ENDING)).write_bytes(exported.serialize())
            described[name] = _describe(program, exported, size)
        for name, content in tokenizer.items():
            (out / name).write_bytes(content)
        shutil.copyfile(Path(__file__).with_name(_RUNNER), out / _RUNNER)
        # Written last: a folder that has it is complete.
        document = _document(trained, dtype, described)
        (out / _DOCUMENT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ModelDirectoryError(
            f"{out}: cannot be written ({error.strerror}); free some space or give another folder"
        ) from error
    return files


def _export(program: Program) -> export.Exported:
    return export.export(jax.jit(program.function), platforms=PLATFORMS)(*symbolic_arguments(program))


def _describe(program: Program, exported: export.Exported, size: int) -> dict[str, Any]:
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return {
        "file": program.name + _ENDING,
        "bytes": size,
        "inputs": [{"name": x.name, "shape": list(x.shape), "dtype": x.dtype} for x in program.inputs],
        "outputs": [{"name": name, "shape": _shape(x), "dtype": x.dtype.name} for name, x in outputs.items()],
    }


def _shape(array: Any) -> list[int | str]:
    return [size if isinstance(size, int) else str(size) for size in array.shape]


def _document(trained: TrainedModel, dtype: str, described: dict[str, Any]) -> dict[str, Any]:
    tokenizer = trained.tokenizer
    return {
        "format_version": FORMAT_VERSION,
        "programs": described,
        "dtype": dtype,
        "step": trained.step,
        "platforms": list(PLATFORMS),
        "jax_version": jax.__version__,
        "calling_convention_version": export.maximum_supported_calling_convention_version,
        "tokenizer": {
            "kind": tokenizer.kind,
            "files": sorted(tokenizer.files()),
            "vocab_size": tokenizer.vocab_size,
            "first_id": tokenizer.first_id,
            "end_id": tokenizer.end_id,
            "pad_id": tokenizer.pad_id,
            "unk_id": tokenizer.unk_id,
            "lowercase": tokenizer.lowercase,
        },
        "prompts": list(trained.config.input.prompts),
    }
