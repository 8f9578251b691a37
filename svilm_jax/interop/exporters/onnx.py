"""ONNX export of the towers, verified against JAX before the files are published.

The export uses jax2onnx, which is not among the locked requirements: version 0.17 requires orbax-checkpoint below
0.11.37, and training needs a later one. It is installed in a separate environment, in which `svilm_jax.load` reads an
exported folder (requirements/onnx.in); JAX 0.10.2 on Python 3.11 and JAX 0.12.0 on 3.12 both work.

Limitations of jax2onnx 0.17.1 with these models, and the workarounds here:

- layer norms called with a mask, since it replaces the call by its own: functions are traced before it sees them;
- nested functions of JAX 0.12 (it looks for `jax.core.ClosedJaxpr`), and therefore scans: they are inlined into their
  callers, and layers are unrolled.

Files are float32; bfloat16 has not been tried.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.extend

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.exporters.programs import (
    Program,
    check_size,
    largest_difference,
    programs,
    sample_arguments,
    symbolic_arguments,
)

TOLERANCE = 1e-4  # largest absolute difference of two elements of an embedding
_BATCHES = (1, 3)  # two sizes for the check, since a fixed batch axis only shows in the second
# Primitives that call functions, which can be inlined.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")


def export_onnx(trained: TrainedModel, out: str | Path) -> dict[str, float]:
    """Writes `video_tower.onnx` and `text_tower.onnx`, with a free batch axis, and the tokenizer's files.

    Names of inputs and outputs are those of `programs.py`: video uint8 [b, T, H, W, 3] -> embedding
    [b, C], group_embedding [b, M, C]; tokens int32 [n, L] and mask bool [n, L] -> embedding [n, C]; all float32.

    Args:
      trained: the model to export.
      out: a folder, created if missing, that contains none of these files.

    Returns:
      File -> largest absolute difference between onnxruntime and JAX, on random inputs of two batch sizes.

    Raises:
      ModelDirectoryError: jax2onnx or onnxruntime is missing; a part of the model that jax2onnx does not support, by
        name; a difference above `TOLERANCE`; a file exists already or cannot be written; 2 GiB of parameters or more.
    """
    jax2onnx, runtime = _libraries()
    check_size(trained, "float32", "ONNX file", "export StableHLO in bfloat16")
    out, made = Path(out), programs(trained, scanned=False)
    contents, differences = {}, {}
    for name in ("video_tower", "text_tower"):
        content = _convert(jax2onnx, made[name])
        difference = max(_difference(runtime, content, made[name], rows, trained) for rows in _BATCHES)
        if not difference <= TOLERANCE:
            raise ModelDirectoryError(
                f"{name}: onnxruntime {runtime.__version__} gives numbers that differ from JAX's by {difference:.1e} "
                f"(tolerance {TOLERANCE:.0e}): nothing was written; use StableHLO, and report this"
            )
        contents[f"{name}.onnx"], differences[f"{name}.onnx"] = content, difference
    files = contents | trained.tokenizer.files()
    existing = sorted(name for name in files if (out / name).exists())
    if existing:
        raise ModelDirectoryError(f"{out}: {', '.join(existing)} already exist; give another folder, or remove them")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise ModelDirectoryError(
            f"{out}: cannot be written ({error.strerror}); free some space or give another folder"
        ) from error
    return differences


def _libraries() -> tuple[Any, Any]:
    try:
        import jax2onnx
        import onnxruntime
    except ImportError as error:
        raise ModelDirectoryError(
            f"ONNX needs jax2onnx and onnxruntime ({error}): in an environment of their own, pip install -r "
            "requirements/onnx.in, and export there from a folder that `svilm export` wrote here"
        ) from error
    return jax2onnx, onnxruntime


def _convert(jax2onnx: Any, program: Program) -> bytes:
    arguments = symbolic_arguments(program)
    flat, names = _flat(program.function, arguments)
    with _quiet("onnx_ir"):
        try:
            model = jax2onnx.to_onnx(
                flat,
                inputs=arguments,
                model_name=program.name,
                input_names=[given.name for given in program.inputs],
                output_names=names,
            )
        except Exception as error:  # jax2onnx raises exceptions of any type for unsupported operations
            raise ModelDirectoryError(
                f"{program.name}: jax2onnx {version('jax2onnx')} cannot convert it with JAX {jax.__version__} "
                f"({type(error).__name__}: {error}); use StableHLO, which takes every model"
            ) from error
    for output in model.graph.output:  # some come out as "dynamic_75"
        output.type.tensor_type.shape.dim[0].dim_param = program.inputs[0].shape[0]
    return model.SerializeToString()


def _difference(runtime: Any, content: bytes, program: Program, rows: int, trained: TrainedModel) -> float:
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        arrays = sample_arguments(program, rows, trained.tokenizer.vocab_size)
        names = [output.name for output in session.get_outputs()]
        given = {given.name: array for given, array in zip(program.inputs, arrays, strict=True)}
        theirs = dict(zip(names, session.run(None, given), strict=True))
    except Exception as error:  # onnxruntime has a kind of its own for every code
        raise ModelDirectoryError(
            f"{program.name}: onnxruntime {runtime.__version__} does not run it on {rows} rows ({error}); nothing was "
            "written; use StableHLO"
        ) from error
    return largest_difference(jax.jit(program.function)(*arrays), theirs)


def _flat(function: Callable[..., dict[str, jax.Array]], arguments: Sequence[Any]) -> tuple[Callable, list[str]]:
    """Returns (the function as a flat list of primitives, positional arrays -> list of arrays; names of these)."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)

    def flat(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(_run(closed.jaxpr, closed.consts, arrays))

    return flat, sorted(shapes)


def _run(jaxpr: Any, consts: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
    """Evaluates a jaxpr primitive by primitive, inlining the functions that it calls."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arrays], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jax.extend.core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        primitive, params = equation.primitive, equation.params
        body = params.get("jaxpr", params.get("call_jaxpr")) if primitive.name in _CALLS else None
        if body is not None:
            outputs = _run(getattr(body, "jaxpr", body), getattr(body, "consts", ()), inputs)
        else:
            outputs = primitive.bind(*inputs, **params)
            outputs = outputs if primitive.multiple_results else [outputs]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silences the converter's message for every intermediate shape."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
