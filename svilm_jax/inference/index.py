"""Text-to-video search in a file of clip embeddings: exact, by FAISS.

The index is flat and exact: the dot products of one query with 100,000 clips of width 256 are one pass over 100 MB, a
few milliseconds (experiments/results/search.json), so there is no approximate index to train, tune or validate.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from svilm_jax.inference import feature_file
from svilm_jax.inference.feature_file import IndexFileError, IndexOrigin
from svilm_jax.inference.model import TrainedModel

_UNIT = 1e-2  # tolerance of the norm 1 of an embedding, for bfloat16 too


def open_index(
    file: Path, model: Path | None, load: Callable[[str | Path], TrainedModel]
) -> tuple["ClipIndex", TrainedModel, Path]:
    """Opens an index and the model that made it, with the model's path; warns on stderr about untrained models.

    Args:
      model: its path; None: the path recorded in the file.
      load: `svilm_jax.load`, passed in since it is in a higher layer than this package.

    Raises:
      IndexFileError: the file cannot be used, or is of another model.
    """
    index = ClipIndex.read(file)
    path = model or index.model_path()
    trained = load(path)
    index.check_model(trained, path)
    if trained.warning:
        print(f"{path}: {trained.warning}", file=sys.stderr)
    return index, trained, path


@dataclasses.dataclass(frozen=True)
class FoundClip:
    """A search result.

    Attributes:
      row: of the file, from 0.
      cosine: with the query.
      video: absolute path.
      start, end: seconds.
    """

    row: int
    cosine: float
    video: str
    start: float
    end: float


class ClipIndex:
    """A file of embeddings in memory, created by `ClipIndex.read`.

    Attributes:
      path: of the file.
      origin: the model and settings that computed it.
    """

    def __init__(self, path: Path, origin: IndexOrigin, where: pa.Table, index: faiss.Index):
        self.path, self.origin = path, origin
        self._where, self._index = where, index

    @classmethod
    def read(cls, path: str | Path) -> "ClipIndex":
        """Loads a file that `svilm embed` wrote.

        Raises:
          IndexFileError: it cannot be read, is of another format, or holds no rows, or embeddings that are not
            normalized.
        """
        path = Path(path)
        origin = feature_file.read_origin(path)
        index = faiss.IndexFlatIP(origin.width)
        where = []
        for rows in feature_file.batches(path):
            vectors = feature_file.embeddings(rows, origin.width)
            lengths = np.linalg.norm(vectors, axis=1)
            if not (np.abs(lengths - 1) < _UNIT).all():  # also rejects NaN
                raise IndexFileError(f"{path}: holds embeddings that are not of length 1; embed the videos again")
            index.add(vectors)
            where.append(rows.select(["video", "start", "end"]))
        if not where:
            raise IndexFileError(f"{path}: holds no clips; embed some videos")
        return cls(path, origin, pa.Table.from_batches(where).combine_chunks(), index)

    def __len__(self) -> int:
        """Returns the number of rows."""
        return self._where.num_rows

    @functools.cached_property
    def videos(self) -> tuple[str, ...]:
        """Absolute paths of the distinct videos."""
        return tuple(self._where["video"].unique().to_pylist())

    def model_path(self) -> Path:
        """The model path recorded in the file.

        Raises:
          IndexFileError: there is nothing at that path.
        """
        path = Path(self.origin.model)
        if not path.exists():
            raise IndexFileError(f"{self.path}: made by the model {path}, which is not there: give --model")
        return path

    def clip(self, row: int, cosine: float = float("nan")) -> FoundClip:
        """Returns a row by its number.

        Raises:
          IndexError: there is no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path}: row {row} of {len(self)}")
        video, start, end = (self._where[name][row].as_py() for name in ("video", "start", "end"))
        return FoundClip(row, cosine, video, start, end)

    def search(self, query: np.ndarray, top: int = 10) -> list[FoundClip]:
        """Returns the clips most similar to a query, best first.

        Args:
          query: float32 [C], L2-normalized, of `TrainedModel.embed_text` or `embed_video`.
          top: number of results, at least 1; fewer if the file has fewer rows.

        Raises:
          ValueError: a query of another shape, or one that is not finite, or `top` below 1.
        """
        query = np.ascontiguousarray(query, np.float32)
        if query.shape != (self.origin.width,) or not np.isfinite(query).all():
            raise ValueError(f"query {query.shape}: expected finite numbers {(self.origin.width,)}")
        if top < 1:
            raise ValueError(f"top={top}: expected at least 1")
        cosines, rows = self._index.search(query[None], min(top, len(self)))
        return [self.clip(int(row), float(cosine)) for row, cosine in zip(rows[0], cosines[0], strict=True)]

    def check_model(self, model: TrainedModel, path: str | Path) -> None:
        """Rejects a model that did not compute these embeddings, with which cosines would be meaningless.

        Raises:
          IndexFileError: other parameters, another model config or another tokenizer; the message names both models.
        """
        found = model.fingerprint
        if found.parameters != self.origin.fingerprint:
            raise IndexFileError(
                f"{self.path}: holds clips as {self.origin.parameters} sees them, not {path} (parameters "
                f"{found.parameters}): give the --model that made it, or embed the videos again"
            )
        if self.origin.model_fingerprint not in ("", str(found)):
            raise IndexFileError(
                f"{self.path}: made by {self.origin.model} (fingerprint {self.origin.model_fingerprint}); {path} "
                f"(fingerprint {found}) has the same parameters, but another model config or tokenizer: give the "
                "--model that made it, or embed the videos again"
            )
