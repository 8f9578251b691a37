"""Search benchmark: latency of an exact text query over 100,000 embeddings of width 256 on one core.

    python experiments/benchmarks/search.py --out experiments/results/search.json

Random unit vectors are written to a file in the format of `svilm embed`, which `ClipIndex` loads and searches; the text
tower is not included. The process pins itself to one core before FAISS is imported, and FAISS to one thread.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np


def main() -> None:
    """Measures, prints the figures and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--queries", type=int, default=200, help="number of timed queries, after ten for warm-up")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    args = parser.parse_args()
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    import faiss

    from svilm_jax.inference.index import ClipIndex

    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "features.parquet")
        write(path, args.clips, args.width)
        megabytes = path.stat().st_size / 1e6
        started = time.perf_counter()
        index = ClipIndex.read(path)
        load_seconds = time.perf_counter() - started
    queries = unit(np.random.default_rng(1), args.queries + 10, args.width)
    wall, cpu = [], []
    for query in queries:
        before, before_cpu = time.perf_counter(), time.process_time()
        index.search(query, args.top)
        wall.append(1e3 * (time.perf_counter() - before))
        cpu.append(1e3 * (time.process_time() - before_cpu))
    figures = {
        "command": " ".join(["python", *sys.argv]),
        "machine": f"one of {os.cpu_count()} cores, {processor()}, {platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("faiss-cpu", "pyarrow", "numpy")},
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "clips": args.clips,
        "width": args.width,
        "top": args.top,
        "queries": args.queries,
        "file_megabytes": round(megabytes, 1),
        "load_seconds": round(load_seconds, 3),
        "query_milliseconds": quantiles(wall[10:]),
        "query_cpu_milliseconds": quantiles(cpu[10:]),
    }
    print(json.dumps(figures, indent=1))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


def write(path: Path, clips: int, width: int) -> None:
    """Writes a file of random embeddings."""
    from svilm_jax.inference import feature_file
    from svilm_jax.inference.feature_file import IndexOrigin, VideoRows

    origin, rng = IndexOrigin("/models/random", "0" * 12, width), np.random.default_rng(0)

    def batches(size: int = 10_000) -> Iterator:
        for first in range(0, clips, size):
            vectors = unit(rng, min(size, clips - first), width)
            videos = (
                VideoRows(f"/videos/{first + i:06d}.mp4", 0, 0, ((0.0, 10.0),), vector[None])
                for i, vector in enumerate(vectors)
            )
            yield feature_file.batch(videos, origin)

    feature_file.write(path, batches(), origin)


def unit(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Returns random unit vectors, float32 [rows, width]."""
    vectors = rng.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def quantiles(values: list[float]) -> dict[str, float]:
    """Returns the median and the 95th percentile."""
    return {"median": round(float(np.median(values)), 2), "p95": round(float(np.percentile(values, 95)), 2)}


def processor() -> str:
    """Returns the processor model as Linux reports it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
