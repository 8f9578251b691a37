"""Fuzzing study: mutated videos, records and files, read as in training, with every one accounted for.

    python experiments/fuzz.py --dataset runs/data/moving_shapes --count 1000 --out experiments/results/fuzz.json

Bits are flipped, bytes truncated, repeated, removed or overwritten at places drawn from a seed, at three levels:

  videos   bytes of a video, in an otherwise intact record
  records  bytes of a serialized record: lengths, field names, captions, masks
  files    bytes of a file of records; each file is opened and every record requested

All go through `TrainInput`, the input of training, for one epoch. Reading takes place in separate processes: one that
crashes, hangs or raises anything but a training error meant for the user is a failure of the study, and so is a file
that yields a record that was not in it.
"""

import argparse
import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module

from svilm_jax.config import InputConfig, TextConfig, VideoConfig
from svilm_jax.input import schema
from svilm_jax.input.pipeline import TrainInput
from svilm_jax.input.records import DamagedRecordError, DatasetError, open_records, version_folder
from svilm_jax.text.tokenizers import load_tokenizer

SECONDS = 600  # time limit of one reading process
BATCH = 8
VIDEO = VideoConfig(num_frames=8, image_size=64)


def main() -> None:
    """Writes damaged datasets, reads them, and reports the outcome of every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", help="a prepared dataset")
    parser.add_argument("--split", default="test")
    parser.add_argument("--videos", type=Path, help="folder with further videos, up to 4 MiB each")
    parser.add_argument(
        "--count", type=int, default=1000, help="number of videos and of records; a tenth of it for files"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workdir", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", nargs="+", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        for folder in args.read:
            print(json.dumps(read_all(Path(folder))), flush=True)
        return
    shutil.rmtree(args.workdir, ignore_errors=True)
    rng = np.random.default_rng(args.seed)
    source, raw = open_records(args.dataset, args.split), serialized(args.dataset, args.split)
    originals = [record.video for record in source]
    if args.videos:
        originals += [file.read_bytes() for file in sorted(args.videos.glob("**/*.mp4")) if file.stat().st_size < 2**22]
    started = time.monotonic()
    videos = [mutated(originals[rng.integers(len(originals))], rng) for _ in range(args.count)]
    write(args, "videos", [with_video(f"case {number}", video) for number, video in enumerate(videos)])
    write(args, "records", [mutated(raw[rng.integers(len(raw))], rng) for _ in range(args.count)])
    files = [write(args, f"file{number}", raw[:32]) for number in range(args.count // 10)]
    for file in files:
        (file.parent / "whole").write_text(
            json.dumps([digest(record) for record in open_records(file.parent, "train")])
        )
        file.write_bytes(mutated(file.read_bytes(), rng))
    reports = {kind: read(args.workdir / kind) for kind in ("videos", "records")}
    reports["files"] = [read(args.workdir / f"file{number}") for number in range(len(files))]
    document = {
        "count": args.count,
        "seed": args.seed,
        "videos_to_start_from": len(originals),
        **summary(reports, args.count),
    }
    print(json.dumps(document, indent=1), f"\n{time.monotonic() - started:.0f} s")
    if args.out:
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(0 if document["every_case_counted"] else 1)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns the bytes with one to four random mutations."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        kind, size = rng.integers(5), max(len(data), 1)
        start = int(rng.integers(size))
        stop = min(size, start + int(rng.integers(1, max(2, size // 8))))
        if kind == 0:  # single bits
            for place in rng.integers(0, size, rng.integers(1, 64)):
                if data:
                    data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[start:]
        elif kind == 2:
            data[start:start] = data[start:stop]
        elif kind == 3:
            del data[start:stop]
        else:
            data[start:stop] = rng.bytes(stop - start)
    return bytes(data)


def serialized(dataset: str, split: str) -> list[bytes]:
    """Returns the serialized records of the first file of a split."""
    folder = version_folder(dataset)
    file = next(folder.glob(f"*-{split}.array_record-00000*"))
    return list(array_record_module.ArrayRecordReader(str(file)).read_all())


def with_video(name: str, video: bytes) -> bytes:
    """Returns a serialized record of a video."""
    from tensorflow_datasets.core import example_serializer

    features = schema.features()
    example = schema.to_example(schema.Record(id=name, video=video, captions=(schema.Caption("a clip"),)))
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    return bytes(serializer.serialize_example(features.encode_example(example)))


def write(args: argparse.Namespace, name: str, records: list[bytes]) -> Path:
    """Writes a dataset of serialized records, all in split `train`; returns its file of records."""
    source, folder = version_folder(args.dataset), args.workdir / name
    folder.mkdir(parents=True)
    shutil.copy(source / "features.json", folder)
    info = json.loads((source / "dataset_info.json").read_text())
    split = {"filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}", "name": "train"}
    split |= {"numBytes": str(sum(map(len, records))), "shardLengths": [str(len(records))]}
    (folder / "dataset_info.json").write_text(json.dumps({**info, "splits": [split]}))
    file = folder / f"{info['name']}-train.array_record-00000"
    writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    return file


def read(folder: Path) -> dict[str, Any]:
    """Reads a dataset in a separate process; returns its report, or how the process ended."""
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--read", str(folder)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"ended": "HUNG"}
    if done.returncode:
        print(f"{folder}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return {"ended": f"CRASHED with {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def read_all(folder: Path) -> dict[str, Any]:
    """Reads one epoch of a dataset; returns the numbers of seen, valid and skipped records, or the error."""
    config = InputConfig(dataset=str(folder), max_failure_fraction=1.0, random_crop=False)
    tokenizer = load_tokenizer("builtin:moving_shapes")
    original = folder / "whole"
    known = json.loads(original.read_text()) if original.is_file() else None
    valid, wrong, seen = 0, 0, set()
    try:
        with TrainInput(config, VIDEO, TextConfig(), tokenizer, batch_size=BATCH, seed=0) as data:
            for batch in epoch(data):
                new = [i for i, number in enumerate(batch["index"].tolist()) if number not in seen]
                seen |= set(batch["index"].tolist())
                valid += int(batch["valid"][new].sum())
            named = len(data.failures)
            if known:
                wrong = sum(digest(record) != known[number] for number, record in whole_records(folder))
    except DatasetError as error:
        return {"ended": "refused", "why": str(error)}
    return {"ended": "read", "seen": len(seen), "valid": valid, "named": named, "wrong": wrong}


def digest(record: schema.Record) -> str:
    """Returns a hash of the content of a record."""
    fields = [record.id, record.group, str(record.captions), str(record.actions), str(record.questions)]
    masks = b"" if record.masks is None else record.masks.tobytes()
    return hashlib.sha256(json.dumps(fields).encode() + record.video + masks).hexdigest()


def whole_records(folder: Path) -> Iterator[tuple[int, schema.Record]]:
    """Yields the readable records with their numbers."""
    source = open_records(folder, "train")
    for number in range(len(source)):
        with contextlib.suppress(DamagedRecordError):
            yield number, source[number]


def epoch(data: TrainInput) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches that contain every record at least once."""
    for _ in range(-(-data.num_records // BATCH)):
        yield next(data)


def summary(reports: dict[str, Any], count: int) -> dict[str, Any]:
    """Counts the outcomes of the cases."""
    ends = [entry["ended"] for entry in reports["files"]]
    within = [entry for entry in reports["files"] if entry["ended"] == "read"]
    files = {
        "files": len(ends),
        "refused_whole": ends.count("refused"),
        "read_with_records_left_out": sum(entry["valid"] < entry["seen"] for entry in within),
        "read_whole": sum(entry["valid"] == entry["seen"] for entry in within),
        "records_that_were_not_in_them": sum(entry["wrong"] for entry in within),
    }
    kinds = {}
    for kind in ("videos", "records"):
        entry = reports[kind]
        kinds[kind] = {**entry, "left_out": entry.get("seen", 0) - entry.get("valid", 0)}
    counted = all(kinds[kind]["ended"] == "read" and kinds[kind]["seen"] == count for kind in kinds)
    return {
        **kinds,
        "files": files,
        "every_case_counted": counted
        and set(ends) <= {"read", "refused"}
        and not files["records_that_were_not_in_them"],
    }


if __name__ == "__main__":
    main()
