"""TensorFlow SavedModel export of the programs, verified against JAX on export.

The export uses jax2tf, which is part of JAX; TensorFlow is an optional extra. A SavedModel contains the same StableHLO
programs, so reading it takes a TensorFlow with XLA, and neither JAX nor this package. TensorFlow must be recent enough
for the JAX that wrote it: TensorFlow 2.21 reads JAX 0.10.2 but not 0.12.0, which encodes sizes in a newer StableHLO.

    model = tensorflow.saved_model.load("saved_model")
    model.signatures["video_tower"](video=clips)["embedding"]
"""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.exporters.programs import Program, check_size, largest_difference, programs, sample_arguments

TOLERANCE = 1e-5  # largest absolute difference of two outputs: the same program compiled by the same compiler
_PLATFORMS = ("cpu", "cuda", "tpu")
_BATCHES = (1, 3)


def export_saved_model(trained: TrainedModel, out: str | Path) -> dict[str, float]:
    """Writes a SavedModel with signatures `video_tower`, `text_tower` and `both`; the tokenizer in `assets.extra`.

    Names, shapes and dtypes of inputs and outputs are those of `programs.py`, all batch axes free.

    Args:
      trained: the model to export.
      out: the folder; must not exist, or be empty.

    Returns:
      Signature -> largest absolute difference between TensorFlow, reading the folder, and JAX, on random inputs.

    Raises:
      ModelDirectoryError: TensorFlow is missing, or too old for JAX's output; a difference above `TOLERANCE`; `out` is
        not empty or cannot be written; 2 GiB of parameters or more.
    """
    try:
        import tensorflow as tf
        from jax.experimental import jax2tf
    except ImportError as error:
        raise ModelDirectoryError(
            f"a SavedModel needs TensorFlow ({error}): pip install svilm_jax[tf], or use StableHLO, which does not"
        ) from error
    # `both` repeats both towers: three programs in one file.
    check_size(trained, "float32", "SavedModel", "export StableHLO in bfloat16", copies=2)
    out, made = Path(out), programs(trained)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelDirectoryError(f"{out}: exists and is not an empty folder; give another")
    module = tf.Module()
    signatures = {name: _signature(tf, jax2tf, program) for name, program in made.items()}
    module.signatures_ = signatures  # a SavedModel keeps the functions that hang on it
    try:
        tf.saved_model.save(module, str(out), signatures=signatures)
        assets = out / "assets.extra"  # TensorFlow's place for what no function of the model reads
        assets.mkdir()
        for name, content in trained.tokenizer.files().items():
            (assets / name).write_bytes(content)
    except (OSError, tf.errors.OpError) as error:
        raise ModelDirectoryError(
            f"{out}: cannot be written ({error}); free some space or give another folder"
        ) from error
    try:
        read = tf.saved_model.load(str(out)).signatures
        differences = {name: _difference(tf, read[name], program, trained) for name, program in made.items()}
    except tf.errors.OpError as error:
        shutil.rmtree(out)
        raise ModelDirectoryError(
            f"{out}: TensorFlow {tf.__version__} does not run what JAX {jax.__version__} writes; nothing is left; "
            f"use a newer TensorFlow, an older JAX, or StableHLO. Its message: {error.message[:300]}"
        ) from error
    worst = max(differences, key=differences.__getitem__)
    if not differences[worst] <= TOLERANCE:
        shutil.rmtree(out)
        raise ModelDirectoryError(
            f"{out}: {worst} in TensorFlow {tf.__version__} differs from JAX by {differences[worst]:.1e} (at most "
            f"{TOLERANCE:.0e} allowed): nothing is left there; use StableHLO, and report this"
        )
    return differences


def _signature(tf: Any, jax2tf: Any, program: Program) -> Any:
    convert = jax2tf.convert(
        program.function,
        polymorphic_shapes=[f"({', '.join(map(str, given.shape))})" for given in program.inputs],
        native_serialization_platforms=_PLATFORMS,
        with_gradient=False,
    )
    specs = [
        tf.TensorSpec([None if isinstance(size, str) else size for size in given.shape], given.dtype, name=given.name)
        for given in program.inputs
    ]
    return tf.function(convert, input_signature=specs, autograph=False, jit_compile=True)


def _difference(tf: Any, signature: Any, program: Program, trained: TrainedModel) -> float:
    worst = 0.0
    for rows in _BATCHES:
        arrays = sample_arguments(program, rows, trained.tokenizer.vocab_size)
        given = {given.name: tf.constant(array) for given, array in zip(program.inputs, arrays, strict=True)}
        theirs = {name: np.asarray(tensor) for name, tensor in signature(**given).items()}
        worst = max(worst, largest_difference(jax.jit(program.function)(*arrays), theirs))
    return worst
