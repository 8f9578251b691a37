"""Functions that are exported as programs: both towers, and both together with the similarity of all pairs.

The exported formats (StableHLO, ONNX, SavedModel) differ only in file format: all take the same inputs under the same
names and give the same outputs.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from svilm_jax.checkpoints.model_directory import DTYPES, ModelDirectoryError
from svilm_jax.config import ModelConfig
from svilm_jax.inference import TrainedModel
from svilm_jax.models.parameters import abstract_model, bind, count, parameters
from svilm_jax.models.svilm import SVILM
from svilm_jax.models.transformer import TransformerStack

VIDEOS, TEXTS = "b", "n"  # names of the batch axes
# Bytes of parameters in a file: protobufs and flatbuffers use 31-bit sizes, and the code needs some of them.
LIMIT = 2**31 - 2**24


@dataclasses.dataclass(frozen=True)
class ProgramInput:
    """An argument of a program.

    Attributes:
      name: name of the argument, in formats that have names.
      shape: numbers, and for the batch axis its name, `VIDEOS` or `TEXTS`.
      dtype: NumPy name.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Program:
    """A function of arrays with embedded parameters.

    Attributes:
      name: name of the file, without ending.
      function: positional arrays, in the order of `inputs` -> name -> array float32, names in alphabetical order.
      inputs: see `ProgramInput`.
    """

    name: str
    function: Callable[..., dict[str, jax.Array]]
    inputs: tuple[ProgramInput, ...]


def programs(trained: TrainedModel, dtype: str = "float32", scanned: bool = True) -> dict[str, Program]:
    """Returns `video_tower`, `text_tower` and `both` of a trained model.

    The model is rebuilt with attention in plain XLA and the given dtype, so that no program depends on the exporting
    machine. Outputs are float32, embeddings L2-normalized. `similarity` of `both` is not multiplied by `logit_scale`: a
    ranking does not need it, and probabilities over the sentences of a clip are softmax(similarity * logit_scale).

    Args:
      trained: the model to export.
      dtype: one of `DTYPES`, for the stored parameters and the computation.
      scanned: False unrolls all layers, for formats without loops.

    Raises:
      ModelDirectoryError: another dtype; a model without towers.
    """
    if dtype not in DTYPES:
        raise ModelDirectoryError(f"dtype {dtype!r}: expected one of {DTYPES}")
    if trained.config.task == "localization":
        raise ModelDirectoryError(
            f"a model of task {trained.config.task!r} has no towers to export: export the model that its "
            "features came from"
        )
    config = dataclasses.replace(
        trained.config,
        model=dataclasses.replace(trained.config.model, attention="xla", remat="none", compute_dtype=cast(Any, dtype)),
    )
    graphdef, abstract = abstract_model(config, trained.tokenizer.vocab_size)
    # The one scalar, the logarithm of the logit scale, is kept as it is: rounding it would save two bytes.
    kept = jax.tree.map(lambda x: np.asarray(x, jnp.dtype(dtype if x.ndim else "float32")), parameters(trained.model))

    def model() -> SVILM:
        # float32 inside the program, which stays small and computes the same as a model read from such a folder.
        built = bind(graphdef, abstract, jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.float32), kept))
        return built if scanned else _written_out(built)

    def video_tower(video: jax.Array) -> dict[str, jax.Array]:
        seen = model().encode_video(video)
        return {"embedding": seen.embedding, "group_embedding": seen.group_embedding}  # [b, C], [b, M, C]

    def text_tower(tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        return {"embedding": model().encode_text(tokens, mask)}  # [n, C]

    def both(video: jax.Array, tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        seen, read = video_tower(video), text_tower(tokens, mask)
        return {
            "group_embedding": seen["group_embedding"],
            "logit_scale": model().logit_scale,
            "similarity": seen["embedding"] @ read["embedding"].T,  # [b, n]
            "text_embedding": read["embedding"],
            "video_embedding": seen["embedding"],
        }

    clips, sentences = _inputs(config.model)
    return {
        "video_tower": Program("video_tower", _exact(video_tower, dtype), clips),
        "text_tower": Program("text_tower", _exact(text_tower, dtype), sentences),
        "both": Program("both", _exact(both, dtype), (*clips, *sentences)),
    }


def check_size(trained: TrainedModel, dtype: str, kind: str, way: str, copies: int = 1) -> None:
    """Rejects models that exceed the size limit of a file format, before minutes of work.

    Args:
      trained: the model.
      dtype: dtype of the stored parameters.
      kind: name of the file format, for the error.
      way: alternative that the error suggests.
      copies: number of copies of all parameters in the file.

    Raises:
      ModelDirectoryError: parameters beyond `LIMIT`; `way` names an alternative.
    """
    size = copies * count(parameters(trained.model)) * jnp.dtype(dtype).itemsize
    if size > LIMIT:
        raise ModelDirectoryError(
            f"{size / 2**30:.2f} GiB of {dtype} parameters: one {kind} must have less than {LIMIT / 2**30:.2f}; {way}"
        )


def symbolic_arguments(program: Program) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Returns the inputs of a program for every batch size."""
    sizes = dict(zip((VIDEOS, TEXTS), export.symbolic_shape(f"{VIDEOS}, {TEXTS}"), strict=True))
    return tuple(
        jax.ShapeDtypeStruct([sizes[size] if isinstance(size, str) else size for size in given.shape], given.dtype)
        for given in program.inputs
    )


def sample_arguments(program: Program, batch: int, vocab_size: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Returns random arguments of a program, `batch` rows each: bytes, ids, and masks with a real token per row."""
    rng = np.random.default_rng(seed)
    arrays = []
    for given in program.inputs:
        shape = tuple(batch if isinstance(size, str) else size for size in given.shape)
        if given.dtype == "uint8":
            arrays.append(rng.integers(0, 256, shape, np.uint8))
        elif given.dtype == "int32":
            arrays.append(rng.integers(0, vocab_size, shape, np.int32))
        else:
            arrays.append(np.arange(shape[1]) < rng.integers(1, shape[1] + 1, (batch, 1)))
    return tuple(arrays)


def largest_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """Returns the largest absolute difference between a program's outputs and those of another runtime.

    Raises:
      ModelDirectoryError: other names or shapes.
    """
    shapes = [{name: np.shape(array) for name, array in outputs.items()} for outputs in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ModelDirectoryError(f"a program gives {shapes[1]} where JAX gives {shapes[0]}: other names or shapes")
    return max(float(np.abs(np.asarray(ours[name]) - np.asarray(theirs[name])).max()) for name in ours)


def _exact(function: Callable[..., dict[str, jax.Array]], dtype: str) -> Callable[..., dict[str, jax.Array]]:
    """Runs a function with full float32 precision: GPUs and TPUs use reduced-precision products by default."""

    def traced(*arrays: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
            return function(*arrays)

    return traced


def _inputs(config: ModelConfig) -> tuple[tuple[ProgramInput, ...], tuple[ProgramInput, ...]]:
    video, length = config.video, config.text.max_length
    clips = ProgramInput("video", (VIDEOS, video.num_frames, video.image_size, video.image_size, 3), "uint8")
    return (clips,), (ProgramInput("tokens", (TEXTS, length), "int32"), ProgramInput("mask", (TEXTS, length), "bool"))


class _UnrolledStack(nnx.Module):
    """The layers of a `TransformerStack` unrolled, without a scan."""

    def __init__(self, layers: TransformerStack):
        graphdef, state = nnx.split(layers.stacked)
        self.count = layers.count
        self.layers = nnx.List(
            [nnx.merge(graphdef, jax.tree.map(lambda x, i=i: x[i], state)) for i in range(self.count)]
        )

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """x [B, N, D], mask bool [B, N] -> [B, N, D]."""
        for layer in self.layers:
            x = layer(x, mask)
        return x


def _written_out(model: SVILM) -> SVILM:
    holders: tuple[Any, ...] = (model.text_tower, *model.video_tower.stages.values())
    for holder in holders:
        holder.layers = _UnrolledStack(holder.layers)
    return model
