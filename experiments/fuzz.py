"""What happens to damaged input? Mutated videos and mutated records, each one decoded or counted, none of them fatal.

    python experiments/fuzz.py --dataset runs/data/moving_shapes --count 1000 --out experiments/results/fuzz.json

Bytes are flipped, cut off, repeated, removed or overwritten, in files of the dataset and of `--videos`, at places drawn
from a seed. Each case goes the way of training: a video through `decode_clip`, a record through `from_example` and its
clip. Cases run in worker processes of their own, so that one that crashes or hangs is seen and does not end the study:
either would be a failure.
"""

import argparse
import collections
import concurrent.futures
import json
import multiprocessing
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.config import VideoConfig
from svilm_jax.input import schema
from svilm_jax.input.clips import decode_clip
from svilm_jax.input.decoding import VideoError
from svilm_jax.input.records import open_records

SECONDS = 60.0  # that one case may take
VIDEO = VideoConfig(frames=8, size=64)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The same bytes with one to four kinds of damage."""
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


def video_case(content: bytes) -> str:
    """What becomes of a video: `decoded`, or the kind of refusal."""
    record = schema.Record(id="case", video=content, captions=(schema.Caption("a clip"),))
    try:
        decode_clip(record, VIDEO, -1.0, -1.0)
    except VideoError:
        return "refused"
    return "decoded"


def record_case(content: bytes, damaged: bytes, field: str) -> str:
    """What becomes of a record one of whose fields is damaged."""
    example = schema.to_example(schema.Record(id="case", video=content, captions=(schema.Caption("a clip"),)))
    example = {name: columns(value) for name, value in example.items()}
    example |= {field: {"text": [damaged], "start": [-1.0], "end": [-1.0]} if field == "captions" else damaged}
    try:
        record = schema.from_example(example)
    except (ValueError, KeyError, TypeError, zlib.error, EOFError, OSError, UnicodeDecodeError):
        return "refused"  # what `RecordSource` turns into DamagedRecordError
    return video_case(record.video)


def columns(value: Any) -> Any:
    """A list of dicts as the dict of lists that TFDS reads it as."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {name: [row[name] for row in value] for name in value[0]}
    names = ("text", "start", "end", "caption", "label", "question", "answer", "kind", "id", "phrase", "mask_id")
    return {name: [] for name in names} if value == [] else value


def main() -> None:
    """Runs all cases and writes the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a prepared dataset")
    parser.add_argument("--videos", type=Path, help="also files of this folder")
    parser.add_argument("--count", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    records = open_records(args.dataset, "test")
    videos = [records[number].video for number in range(min(50, len(records)))]
    if args.videos:
        videos += [file.read_bytes() for file in sorted(args.videos.iterdir()) if file.stat().st_size < 2**22]
    masks = schema.to_example(records[0])["masks"]
    rng = np.random.default_rng(args.seed)
    cases: list[tuple[str, Any]] = []
    for _ in range(args.count):
        cases.append(("video", (video_case, mutated(videos[rng.integers(len(videos))], rng))))
    for _ in range(args.count):
        field = str(rng.choice(["video", "masks", "captions", "id"]))
        whole = {"video": videos[0], "masks": masks, "captions": b"a red square", "id": b"clip-17"}[field]
        cases.append(("record", (record_case, videos[0], mutated(whole, rng), field)))
    started = time.monotonic()
    counts = run(cases, args.workers)
    told = {kind: dict(sorted(found.items())) for kind, found in counts.items()}
    print(json.dumps(told, indent=1), f"{time.monotonic() - started:.0f} s")
    if args.out:
        document = {"seed": args.seed, "videos": len(videos), "limit_seconds": SECONDS, "counts": told}
        args.out.write_text(json.dumps(document, indent=1) + "\n")


def run(cases: list[tuple[str, Any]], workers: int) -> dict[str, collections.Counter[str]]:
    """kind -> what became of its cases; a worker that dies or hangs is replaced."""
    counts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind, _ in cases}
    context = multiprocessing.get_context("spawn")
    waiting = list(enumerate(cases))
    while waiting:
        batch, waiting = waiting[:200], waiting[200:]
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures = [(case, pool.submit(*case[1][1])) for case in batch]
            for (number, (kind, _)), future in futures:
                try:
                    counts[kind][future.result(timeout=SECONDS)] += 1
                except concurrent.futures.TimeoutError:
                    counts[kind]["HUNG"] += 1
                    print(f"case {number} hung", flush=True)
                    for process in list(pool._processes.values()):
                        process.kill()
                except concurrent.futures.process.BrokenProcessPool:
                    counts[kind]["CRASHED"] += 1
                    print(f"case {number} or one beside it crashed", flush=True)
                except Exception as error:  # whatever else comes out of a case is what the study looks for
                    counts[kind][f"RAISED {type(error).__name__}"] += 1
                    print(f"case {number}: {type(error).__name__}: {error}", flush=True)
    return counts


if __name__ == "__main__":
    main()
