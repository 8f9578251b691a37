"""Runner for the exported programs, with JAX and NumPy only; it does not import the package that wrote them.

    pip install jax numpy flatbuffers          # jax[cuda12] for a GPU, jax[tpu] for a TPU
    python run_stablehlo.py both.stablehlo --batch 4                             # random inputs
    python run_stablehlo.py video_tower.stablehlo --video clips.npy --out embeddings.npz

    program = jax.export.deserialize(bytearray(open("both.stablehlo", "rb").read()))
    outputs = jax.jit(program.call)(video, tokens, mask)                         # name -> array

Inputs (programs.json next to this file has their sizes, and those of the outputs):

video   uint8 [b, T, H, W, 3], RGB, channels last, values 0 to 255, without mean, standard deviation or division by 255:
        the program normalizes. A clip is represented by T frames, at the centers of T equal segments, in temporal
        order. Of each frame the model takes the largest central square, scaled to H = W pixels.
tokens  int32 [n, L], one sentence per row: `first_id`, the ids of its tokens, `end_id`, then `pad_id` up to L. A
        sentence of more than L - 2 tokens is truncated at the end and keeps `end_id`. Ids are those of the tokenizer
        files in this folder (vocab.txt and tokenizer.json: `tokenizers.Tokenizer`, WordPiece; *.model: SentencePiece),
        with lower-casing where programs.json says so. A phrase ("a red ball") is put into the first of `prompts`.
mask    bool [n, L], True for tokens that are not padding: `tokens != pad_id`.

Outputs are float32. Embeddings are L2-normalized, so that the dot product of two is their cosine; `similarity` of
`both` is that of all pairs [b, n]. softmax(similarity * logit_scale) over n gives the probabilities of the sentences
for each clip. `group_embedding` [b, M, C] holds the embeddings of a clip's groups in the space of phrases.

b and n can be any size. A program is compiled once for each pair of sizes: pad to a few fixed sizes.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export


def load(file: Path) -> export.Exported:
    """Loads a program.

    Raises:
      SystemExit: the file cannot be read; the message says why.
    """
    try:
        return export.deserialize(bytearray(file.read_bytes()))
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f"{file}: {error}") from error


def argument(name: str, aval: Any, given: Path | None, batch: int) -> np.ndarray:
    """Returns the array of a .npy file, or a random one of `batch` rows if none is given.

    Raises:
      SystemExit: the file has another shape or dtype than the program's input.
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
    """Loads, runs and prints."""
    parser = argparse.ArgumentParser(description="Runs a StableHLO program of svilm_jax.")
    parser.add_argument("program", type=Path, help="a file .stablehlo")
    for name in ("video", "tokens", "mask"):
        parser.add_argument(f"--{name}", type=Path, help=f"{name} as an .npy file (default: random)")
    parser.add_argument("--batch", type=int, default=2, help="rows of random inputs")
    parser.add_argument("--out", type=Path, help="output file (.npz)")
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
