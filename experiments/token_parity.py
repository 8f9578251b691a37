"""Tokenizer parity: token ids compared with the tokenizers of public weights, on 10,000 real captions.

Command: python experiments/token_parity.py --realdata FOLDER --write tests/input/reference/token_ids.json
Needs:   transformers (`requirements/parity.in`), and the official annotation files and vocabularies. ALBERT's own
         text normalization is in the SentencePiece tokenizer of transformers up to 4; transformers 5 splits differently
         ("sub-floor" there has a space before "floor"), so ALBERT is compared with version 4 only.
"""

import argparse
import gzip
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

COUNT = 10_000
# Rare content that vocabularies treat differently. Special tokens as text are not included: the originals read "[SEP]"
# in a sentence as the token, this project as text.
ODD = (
    "",
    "A café, déjà vu & a piñata!",
    "it costs 9,000 dollars, or 12, maybe 7,",
    "``quoted'' text isn't \"plain\"",
    "  too   many\tspaces \n",
    "日本語 and emoji 🎸 guitar",
    "sub-floor (jump-stilts)",
    "ﬁne ½ cup",
)
# name -> (vocabulary in the folder of texts, whether sentences are lower-cased)
VOCABULARIES = {
    "bert": ("bert-base-uncased-vocab.txt", True),
    "t5": ("t5-style-legal-t5-small-fr-en-spiece.model", False),
    "albert": ("albert-base-spiece.model", True),
}


def captions(realdata: Path) -> list[str]:
    """Returns 10,000 captions, alternately of MSR-VTT's test videos and of ActivityNet Captions."""
    with zipfile.ZipFile(realdata / "annotations/msrvtt/test_videodatainfo.json.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("test_videodatainfo.json") and "MACOSX" not in n)
        first = [sentence["caption"] for sentence in json.loads(archive.read(name))["sentences"]]
    with gzip.open(realdata / "annotations/anet_captions/train.json.gz", "rt", encoding="utf-8") as file:
        second = [text for video in json.load(file).values() for text in video["sentences"]]
    return [text for pair in zip(first[: COUNT // 2], second[: COUNT // 2], strict=True) for text in pair]


def digest(rows: Sequence[Sequence[int]]) -> str:
    """Returns the SHA-256 over the lengths and ids of all sentences."""
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(np.array([len(row), *row], "<i4").tobytes())
    return sha256.hexdigest()


def reference(name: str, vocabulary: Path) -> Callable[[str], list[int]] | None:
    """Returns the original tokenizer, without first and end token; None if this version of transformers has none."""
    import transformers

    if name == "bert":
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "vocab.txt").write_bytes(vocabulary.read_bytes())
            (Path(folder) / "config.json").write_text('{"model_type": "bert"}')
            bert = transformers.AutoTokenizer.from_pretrained(folder)
        return lambda text: bert(text, add_special_tokens=False)["input_ids"]
    if int(transformers.__version__.split(".")[0]) >= 5:
        if name == "albert":
            return None
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "spiece.model").write_bytes(vocabulary.read_bytes())
            (Path(folder) / "config.json").write_text('{"model_type": "t5"}')
            t5 = transformers.AutoTokenizer.from_pretrained(folder)
        return lambda text: t5(text, add_special_tokens=False)["input_ids"]
    given = {"legacy": False} if name == "t5" else {}
    kind = transformers.T5Tokenizer if name == "t5" else transformers.AlbertTokenizer
    made = kind(str(vocabulary), **given)
    return lambda text: made(text, add_special_tokens=False)["input_ids"]


def main() -> None:
    """Compares all vocabularies, and writes the ids of the original tokenizers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--realdata", type=Path, default=os.environ.get("SVILM_REALDATA"), required=False)
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the ids of the original tokenizers, for the tests"
    )
    args = parser.parse_args()
    if args.realdata is None or not Path(args.realdata).is_dir():
        sys.exit("token_parity: no folder of annotations and vocabularies; give --realdata or set SVILM_REALDATA")
    from svilm_jax.text.tokenizers import load_tokenizer

    texts = captions(Path(args.realdata))
    references, wrong = {}, 0
    for name, (file, lowercase) in VOCABULARIES.items():
        vocabulary = Path(args.realdata) / "text" / file
        original = reference(name, vocabulary)
        if original is None:
            print(f"{name}: not compared, transformers 5 has no tokenizer of SentencePiece's own splits")
            continue
        theirs, odd = [original(text) for text in texts], [original(text) for text in ODD]
        ours = load_tokenizer(vocabulary, lowercase)
        differ = [text for text, ids in zip([*texts, *ODD], [*theirs, *odd], strict=True) if ours.pieces(text) != ids]
        print(f"{name}: {len(differ)} of {len(texts) + len(ODD)} sentences differ{f', {differ[:3]}' if differ else ''}")
        wrong += len(differ)
        references[name] = {"file": file, "lowercase": lowercase, "sha256": digest(theirs), "odd": odd}
    if args.write:
        args.write.parent.mkdir(parents=True, exist_ok=True)
        made_with = {"command": " ".join(["python", *sys.argv]), "transformers": metadata.version("transformers")}
        document = {**made_with, "captions": COUNT, "of": references}
        args.write.write_text(json.dumps(document) + "\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
