"""Random access to the records of a prepared dataset in ArrayRecord files."""

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, SupportsIndex, overload

from svilm_jax.config import nearest
from svilm_jax.errors import UserError
from svilm_jax.input import schema

_BLOCK = 1 << 16  # bytes: ArrayRecord pads its files to whole blocks
_INDEXES_READ = 1000  # maximum number of files of a split: some milliseconds each
_OPENED_AT_ONCE = 16


class DatasetError(UserError, ValueError):
    """A prepared dataset that cannot be read; the message names the folder or file and what to do."""


class DamagedRecordError(DatasetError):
    """A record whose bytes cannot be read; the others may be intact."""


class RecordSource(Sequence[schema.Record]):
    """The records of one split, by number.

    Files are opened on first access, once per process: a source is cheap to create and to send to a worker.

    Attributes:
      folder: the version folder, which contains dataset_info.json.
      name: name of the dataset.
      version: version of the dataset.
      split: name of the split.
    """

    def __init__(self, folder: Path, split: str):
        """`folder` is a version folder; `open_records` finds it and checks `split`."""
        self.folder, self.split = folder, split
        builder = _builder(folder)
        info = builder.info.splits[split]
        self.name, self.version = str(builder.name), str(builder.version)
        self._shards = [Path(path) for path in info.filepaths]
        self._shard_lengths = [int(n) for n in info.shard_lengths]
        self._count = int(info.num_examples)
        self.num_bytes = int(info.num_bytes)
        _check_shards(self._shards, self._shard_lengths, split)
        self._lock = threading.Lock()
        self._source: Any = None

    @property
    def identity(self) -> str:
        """Returns 16 hex digits that change with the name, version, split or content size, checked by a resumed run."""
        facts = [self.name, self.version, self.split, self._count, self.num_bytes, self._shard_lengths]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> schema.Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[schema.Record]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> schema.Record | list[schema.Record]:
        """Returns record number `index`, or a list for a slice.

        Raises:
          IndexError: outside the split.
          DatasetError: the file is damaged; `DamagedRecordError`: the record is.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        number = index.__index__()
        if not -self._count <= number < self._count:
            raise IndexError(f"record {number} of {self._count} in {self.name}/{self.split}")
        number %= self._count
        source = self._open()
        try:
            return schema.from_example(source[number])
        except Exception as error:  # three libraries below, each with its own exceptions for damaged data
            path, place = self._place(number)
            raise DamagedRecordError(
                f"{path}: record {place} (number {number} of split {self.split!r}) is damaged "
                f"({type(error).__name__}: {error}); copy or prepare the dataset again"
            ) from error

    def __iter__(self) -> Iterator[schema.Record]:
        for i in range(self._count):
            yield self[i]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_source")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _source=None)

    def __repr__(self) -> str:
        return f"RecordSource({self.name} {self.version}, {self.split}: {self._count} records)"

    def _open(self) -> Any:
        with self._lock:
            if self._source is None:
                try:
                    self._source = _builder(self.folder).as_data_source(split=self.split)
                    count = len(self._source)
                except Exception as error:
                    raise DatasetError(
                        f"{self.folder}: split {self.split!r} cannot be opened ({type(error).__name__}: {error}); "
                        "copy or prepare the dataset again"
                    ) from error
                if count != self._count:
                    raise DatasetError(
                        f"{self.folder}: split {self.split!r} has {count} records, but dataset_info.json states "
                        f"{self._count}; copy or prepare the dataset again"
                    )
            return self._source

    def _place(self, number: int) -> tuple[Path, int]:
        for path, length in zip(self._shards, self._shard_lengths, strict=False):
            if number < length:
                return path, number
            number -= length
        return self.folder, number


class RecordView(RecordSource):
    """A further split over stored records, such as UCF101's three or MSR-VTT's "1k-A".

    A record's captions may be reduced to a subset. Otherwise a record does not depend on the view.
    """

    def __init__(self, folder: Path, split: str):
        """`split` is the name of a view of `folder`."""
        rows = _views(folder)[split]
        self.folder, self.split = folder, split
        self._rows = [(str(row[0]), int(row[1]), None if row[2] is None else tuple(row[2])) for row in rows]
        counts = _stored(folder)
        for name, number, _ in self._rows:
            if not 0 <= number < counts.get(name, 0):
                raise DatasetError(
                    f"{folder / schema.VIEWS}: view {split!r} refers to record {number} of split {name!r}, which does "
                    "not exist; copy or prepare the dataset again"
                )
        stored = dict.fromkeys(row[0] for row in self._rows)
        self._sources = {name: RecordSource(folder, name) for name in stored or list(counts)[:1]}
        first = next(iter(self._sources.values()))
        self.name, self.version = first.name, first.version
        self.num_bytes = sum(source.num_bytes for source in self._sources.values())

    @property
    def identity(self) -> str:
        """As for a stored split; also changes with the rows."""
        facts = [[source.identity for source in self._sources.values()], self.split, self._rows]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> schema.Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[schema.Record]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> schema.Record | list[schema.Record]:
        """As for a stored split."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index.__index__()
        if not -len(self) <= place < len(self):
            raise IndexError(f"record {place} of {len(self)} in {self.name}/{self.split}")
        split, number, captions = self._rows[place]
        record = self._sources[split][number]
        if captions is None:
            return record
        if captions and max(captions) >= len(record.captions):
            raise DatasetError(
                f"{self.folder / schema.VIEWS}: view {self.split!r} refers to caption {max(captions)} of the "
                f"{len(record.captions)} of {record.id}; copy or prepare the dataset again"
            )
        return dataclasses.replace(record, captions=tuple(record.captions[i] for i in captions))

    def __iter__(self) -> Iterator[schema.Record]:
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        return f"RecordView({self.name} {self.version}, {self.split}: {len(self)} records)"


def open_records(dataset: str | Path, split: str) -> RecordSource:
    """Opens the records of `split`, stored or a view, in the folder that `svilm prepare` wrote.

    Args:
      dataset: OUT/NAME, which contains exactly one version folder, or that version folder itself.
      split: name of a stored split or of a view.

    Raises:
      DatasetError: no such folder, not a prepared dataset, no such split, a file missing.
    """
    folder = version_folder(dataset)
    known = splits(folder)
    if split in _views(folder):
        return RecordView(folder, split)
    if split not in known:
        counts = ", ".join(f"{name} ({count})" for name, count in known.items()) or "none"
        raise DatasetError(f"{folder}: no split {split!r}{nearest(split, known)}; splits with their records: {counts}")
    return RecordSource(folder, split)


def splits(dataset: str | Path) -> dict[str, int]:
    """Returns split names, then view names, with their numbers of records; raises as `open_records` does."""
    folder = version_folder(dataset)
    return _stored(folder) | {name: len(rows) for name, rows in _views(folder).items()}


def _check_shards(shards: Sequence[Path], lengths: Sequence[int], split: str) -> None:
    """Rejects missing or truncated files, whose records would all be damaged.

    The index at the end of a file is read if there are not too many files; otherwise truncation shows in the size.

    Raises:
      DatasetError: naming the file.
    """
    for path in shards:
        if not path.is_file():
            raise DatasetError(f"{path}: a file of split {split!r} is missing; copy or prepare the dataset again")

    def check(path: Path, length: int) -> str:
        size = path.stat().st_size
        if not size or size % _BLOCK:
            return f"{size} bytes, no multiple of {_BLOCK}"
        if len(shards) > _INDEXES_READ:
            return ""
        try:
            reader = _reader(path)
            found = reader.num_records() if reader.ok() else -1
            reader.close()
        except Exception as error:  # the C++ library raises no other type
            return (str(error).strip().splitlines() or ["its index cannot be read"])[0]
        return "" if found == length else "no index at its end" if found < 0 else f"{found} records, expected {length}"

    with ThreadPoolExecutor(_OPENED_AT_ONCE) as threads:
        for path, wrong in zip(shards, threads.map(check, shards, lengths), strict=True):
            if wrong:
                raise DatasetError(
                    f"{path}: a file of split {split!r} is cut off or damaged ({wrong}); copy or prepare the dataset "
                    "again"
                )


def _reader(path: Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordReader  # here: not every command reads records

    return ArrayRecordReader(str(path))


def _stored(folder: Path) -> dict[str, int]:
    return {name: int(split.num_examples) for name, split in _builder(folder).info.splits.items()}


def _views(folder: Path) -> dict[str, list[Any]]:
    path = folder / schema.VIEWS
    if not path.is_file():
        return {}
    try:
        views = json.loads(path.read_text(encoding="utf-8"))
        if not all(len(row) == 3 for rows in views.values() for row in rows):
            raise ValueError("a row does not have three values")
    except (ValueError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); copy or prepare the dataset again") from error
    return views


def version_folder(dataset: str | Path) -> Path:
    """Returns the folder that contains dataset_info.json; raises as `open_records` does."""
    if not str(dataset):
        raise DatasetError(
            "no dataset given: set input.dataset to the folder written by `svilm prepare` "
            "(--config.input.dataset=OUT/NAME)"
        )
    folder = Path(dataset)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected OUT/NAME as written by `svilm prepare NAME --out OUT`")
    if (folder / "dataset_info.json").is_file():
        return folder
    versions = sorted(path.parent for path in folder.glob("*/dataset_info.json"))
    if len(versions) == 1:
        return versions[0]
    if versions:
        names = ", ".join(path.name for path in versions)
        raise DatasetError(f"{folder}: has {len(versions)} versions ({names}); give one of these folders")
    deeper = sorted(path.parent.parent for path in folder.glob("*/*/dataset_info.json"))
    hint = f"; did you mean {deeper[0]}?" if deeper else "; expected a folder written by `svilm prepare`"
    raise DatasetError(f"{folder}: not a prepared dataset, no dataset_info.json in it or one folder below{hint}")


def _builder(folder: Path) -> Any:
    import tensorflow_datasets as tfds  # here, because it takes half a second that `svilm --help` need not wait

    try:
        builder = tfds.builder_from_directory(folder)
        version = str(builder.version)
    except Exception as error:
        raise DatasetError(
            f"{folder}: dataset_info.json or features.json cannot be read ({type(error).__name__}: {error}); "
            "copy or prepare the dataset again"
        ) from error
    if version.partition(".")[0] != schema.SCHEMA_VERSION.partition(".")[0]:
        raise DatasetError(
            f"{folder}: written with version {version} of the record schema, and this version of svilm_jax reads "
            f"{schema.SCHEMA_VERSION}: prepare the dataset again, or use the svilm_jax that wrote it"
        )
    return builder
