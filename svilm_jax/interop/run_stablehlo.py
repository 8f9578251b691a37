"""How is one of these programs run? With JAX and NumPy alone; nothing of the package that wrote it.

    pip install jax numpy flatbuffers          # jax[cuda12] for a GPU, jax[tpu] for a TPU
    python run_stablehlo.py both.stablehlo --batch 4                             # random inputs
    python run_stablehlo.py video_tower.stablehlo --video clips.npy --out embeddings.npz

    program = jax.export.deserialize(bytearray(open("both.stablehlo", "rb").read()))
    outputs = jax.jit(program.call)(video, tokens, mask)                         # name -> array

What goes in (programs.json beside this file has the numbers, and those of outputs):

video   uint8 [b, T, H, W, 3], RGB, channels last, values 0 to 255. No mean, no deviation, no division by 255: the
        program does that. T frames stand for a clip: the middles of T equal parts of it, in their order. Of each
        frame the model takes the largest square in the middle, scaled to H = W pixels.
tokens  int32 [n, L], a sentence a row: `first_id`, the ids of its pieces, `end_id`, then `pad_id` up to L. A sentence
        of more than L - 2 pieces loses the last of them and keeps `end_id`. Ids are those of the tokenizer's files in
        this folder (vocab.txt and tokenizer.json: `tokenizers.Tokenizer`, WordPiece; *.model: SentencePiece), which
        lower-cases first where programs.json says so. A phrase ("a red ball") is put into the first of `prompts`.
mask    bool [n, L], True where a token is none of the padding: `tokens != pad_id`.

What comes out is float32. Embeddings are L2-normalised: the product of two is their cosine, `similarity` of `both` that
of all pairs [b, n]. softmax(similarity * logit_scale) over n are probabilities of the sentences, given each clip.
`group_embedding` [b, M, C] are the parts of a clip that the model found, in the space of phrases.

b and n are whatever you give. A program is compiled once for every pair of them: pad to few sizes.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export


def load(file: Path) -> export.Exported:
    """A program.

    Raises:
      SystemExit: the file cannot be read; the message says why.
    """
    try:
        return export.deserialize(bytearray(file.read_bytes()))
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f"{file}: {error}") from error


def argument(name: str, aval: Any, given: Path | None, batch: int) -> np.ndarray:
    """The array of a file .npy, or a random one of `batch` rows where none is given.

    Raises:
      SystemExit: the file holds another shape or dtype than the program takes.
    """
    sizes = [size if isinstance(size, int) else batch for size in aval.shape]
    if given is None:
        rng = np.random.default_rng(0)
        if aval.dtype == bool:
            return np.ones(sizes, bool)
        return rng.integers(0, 256 if aval.dtype == np.uint8 else 5, sizes).astype(aval.dtype)
    array = np.load(given)
    if array.dtype != aval.dtype or array.ndim != len(sizes) or array.shape[1:] != tuple(sizes[1:]):
        raise SystemExit(f"{given}: {array.dtype} {array.shape}; {name} is {aval.dtype} {aval.shape}")
    return array


def main() -> None:
    """Loads, runs, prints."""
    parser = argparse.ArgumentParser(description="Runs a StableHLO program of svilm_jax.")
    parser.add_argument("program", type=Path, help="a file .stablehlo")
    for name in ("video", "tokens", "mask"):
        parser.add_argument(f"--{name}", type=Path, help=f"{name} as a file .npy; random where it is not given")
    parser.add_argument("--batch", type=int, default=2, help="rows of random inputs")
    parser.add_argument("--out", type=Path, help="where outputs go, a file .npz")
    args = parser.parse_args()

    program = load(args.program)
    names = ("tokens", "mask") if len(program.in_avals) == 2 else ("video", "tokens", "mask")
    inputs = {
        name: argument(name, aval, getattr(args, name), args.batch)
        for name, aval in zip(names, program.in_avals, strict=False)
    }
    print(f"{args.program}: for {', '.join(program.platforms)}; here {jax.default_backend()}, JAX {jax.__version__}")
    for name, array in inputs.items():
        print(f"  {name}: {array.dtype} {array.shape}")
    run = jax.jit(program.call)
    for turn in ("first call, with compilation", "second call"):
        start = time.perf_counter()
        outputs = jax.tree.map(np.asarray, run(*inputs.values()))
        print(f"{turn}: {time.perf_counter() - start:.3f} s")
    for name, array in outputs.items():
        print(f"  {name}: {array.dtype} {array.shape}")
    if args.out:
        np.savez(args.out, **outputs)


if __name__ == "__main__":
    main()
