"""File format of clip embeddings: Parquet with one row per clip, and JSON metadata on how they were made.

    video      string                         absolute path
    start      double                         seconds
    end        double                         seconds; 0 and the duration where a row is a whole video
    embedding  fixed_size_list<float>[C]      L2-normalized, so that dot products are cosines
    size       int64                          size of the video file in bytes when it was read
    mtime_ns   int64                          its modification time in nanoseconds; with `size`, detects changed files

The key `svilm` of the schema's metadata holds the fields of `IndexOrigin`. Any Parquet reader can read the file; `svilm
search` and `svilm serve` query it.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from svilm_jax.errors import UserError

FORMAT_VERSION = 1
_KEY = b"svilm"
_ROWS_AT_ONCE = 8192  # read or copied at a time: 8 MiB of embeddings of width 256


class IndexFileError(UserError, ValueError):
    """A file of embeddings that cannot be used; the message names it and what to do."""


@dataclasses.dataclass(frozen=True)
class IndexOrigin:
    """Origin of the embeddings in a file.

    Attributes:
      model: path of the model, absolute.
      fingerprint: of its parameters (`svilm_jax.models.parameters.fingerprint`).
      width: C.
      window, stride: seconds of a row and between rows; None where a row is a whole video.
      model_fingerprint: of parameters, model config and tokenizer together (`inference.fingerprint`); "" in files of
        earlier versions, whose models are identified by their parameters alone.
    """

    model: str
    fingerprint: str
    width: int
    window: float | None = None
    stride: float | None = None
    model_fingerprint: str = ""

    @property
    def parameters(self) -> str:
        """The model's path, with the fingerprint that distinguishes it from another one at the same path."""
        return f"{self.model} (parameters {self.fingerprint})"


@dataclasses.dataclass(frozen=True, eq=False)
class VideoRows:
    """The rows of one video.

    Attributes:
      video: absolute path.
      size, mtime_ns: of the file when it was read.
      spans: (start, end) of each row, seconds.
      embeddings: float32 [rows, C].
    """

    video: str
    size: int
    mtime_ns: int
    spans: tuple[tuple[float, float], ...]
    embeddings: np.ndarray


def schema(origin: IndexOrigin) -> pa.Schema:
    """Returns columns and metadata of a file."""
    said = {
        "format_version": FORMAT_VERSION,
        "model": origin.model,
        "fingerprint": origin.fingerprint,
        "model_fingerprint": origin.model_fingerprint,
        "width": origin.width,
        "windows": None if origin.window is None else {"window": origin.window, "stride": origin.stride},
    }
    return pa.schema(
        [
            pa.field("video", pa.string(), nullable=False),
            pa.field("start", pa.float64(), nullable=False),
            pa.field("end", pa.float64(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), origin.width), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("mtime_ns", pa.int64(), nullable=False),
        ],
        metadata={_KEY: json.dumps(said).encode()},
    )


def batch(videos: Iterable[VideoRows], origin: IndexOrigin) -> pa.RecordBatch:
    """Concatenates the rows of several videos.

    Raises:
      ValueError: embeddings of another width than the origin's.
    """
    videos = list(videos)
    rows = [(video, span) for video in videos for span in video.spans]
    embeddings = np.concatenate([video.embeddings for video in videos]).astype(np.float32)  # [rows, C]
    if embeddings.shape != (len(rows), origin.width):
        raise ValueError(f"embeddings {embeddings.shape}: expected {(len(rows), origin.width)}")
    return pa.record_batch(
        [
            pa.array([video.video for video, _ in rows], pa.string()),
            pa.array([span[0] for _, span in rows], pa.float64()),
            pa.array([span[1] for _, span in rows], pa.float64()),
            pa.FixedSizeListArray.from_arrays(pa.array(embeddings.reshape(-1)), origin.width),
            pa.array([video.size for video, _ in rows], pa.int64()),
            pa.array([video.mtime_ns for video, _ in rows], pa.int64()),
        ],
        schema=schema(origin),
    )


def write(path: Path, batches: Iterable[pa.RecordBatch], origin: IndexOrigin) -> None:
    """Writes a file atomically; one batch is in memory at a time.

    Raises:
      IndexFileError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        # Random unit vectors do not compress, and uncompressed data is read at the speed of the disk.
        with pq.ParquetWriter(temporary, schema(origin), compression="none", use_dictionary=["video"]) as writer:
            for rows in batches:
                writer.write_batch(rows)
        temporary.replace(path)
    except OSError as error:
        raise IndexFileError(f"{path}: cannot be written ({error}); make room or give another --out") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)  # of an unfinished write


def read_origin(path: Path) -> IndexOrigin:
    """Reads the origin recorded in a file.

    Raises:
      IndexFileError: missing, not Parquet, not written by `svilm embed`, or of another format.
    """
    with opened(path) as (_, origin):
        return origin


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[pq.ParquetFile, IndexOrigin]]:
    """Opens a file with its origin; errors inside become `IndexFileError`."""
    if not path.is_file():
        raise IndexFileError(f"{path}: no such file; `svilm embed VIDEOS --model MODEL --out {path}` writes one")
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file, _origin(path, file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise IndexFileError(f"{path}: cannot be read as Parquet ({reason}); embed the videos again") from error


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a file, several thousand at a time.

    Raises:
      IndexFileError: as `read_origin`.
    """
    with opened(path) as (file, _):
        yield from file.iter_batches(_ROWS_AT_ONCE)


def embeddings(rows: pa.RecordBatch, width: int) -> np.ndarray:
    """Returns float32 [rows, width], without a copy."""
    return rows.column("embedding").flatten().to_numpy().reshape(-1, width)


def _origin(path: Path, found: pa.Schema) -> IndexOrigin:
    said = (found.metadata or {}).get(_KEY)
    if said is None:
        raise IndexFileError(f"{path}: Parquet, but not of `svilm embed` (its metadata has no key 'svilm')")
    try:
        document = json.loads(said)
        version = document["format_version"]
        if version == FORMAT_VERSION:
            windows = document["windows"] or {"window": None, "stride": None}
            texts, width = (str(document["model"]), str(document["fingerprint"])), int(document["width"])
            whole = str(document.get("model_fingerprint", ""))
            origin = IndexOrigin(*texts, width, windows["window"], windows["stride"], whole)
    except (ValueError, KeyError, TypeError) as error:
        raise IndexFileError(f"{path}: metadata that cannot be read ({error!r}); embed the videos again") from error
    if version != FORMAT_VERSION:
        raise IndexFileError(
            f"{path}: format {version!r}, this version reads {FORMAT_VERSION}: embed the videos again, or use the "
            "version of svilm_jax that wrote it"
        )
    for field in schema(origin):
        there = found.field(field.name).type if field.name in found.names else "nothing"
        if there != field.type:
            raise IndexFileError(f"{path}: column {field.name!r} is {there}, expected {field.type}: embed again")
    return origin
