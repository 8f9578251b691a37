"""Streaming writer of records into a TFDS dataset of ArrayRecord files."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.input import schema

SHARD_BYTES = 256 << 20  # approximate file size: few enough files to list, small enough to copy one by one
# Records written together. TFDS rewrites the metadata each time, so single records would be slow.
BATCH_RECORDS = 64
BATCH_BYTES = 64 << 20


def write_records(
    name: str, splits: Mapping[str, Iterable[schema.Record]], folder: Path, description: str, record_bytes: float
) -> Path:
    """Writes a TFDS dataset.

    Args:
      name: name of the dataset, a valid TFDS name (lower-case letters, digits and underscores).
      splits: records of each split, in their order on disk; read once, and not kept.
      folder: receives `name/<version>/`.
      description: text for dataset_info.json.
      record_bytes: mean size of a record, which determines the number of records per file.

    Returns:
      The version folder.
    """
    # TFDS is slow to import and makes TensorFlow's C++ code log; only this function needs it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import example_serializer

    class SameBytes(example_serializer.ExampleSerializer):  # type: ignore[misc]
        """Serializes deterministically: by default, protocol buffers order map fields differently in each process."""

        def serialize_example(self, example: Any) -> bytes:
            return bytes(self.get_tf_example(example).SerializeToString(deterministic=True))

    version_folder = folder / name / schema.SCHEMA_VERSION
    version_folder.mkdir(parents=True)
    identity = tfds.core.DatasetIdentity(
        name=name, version=tfds.core.Version(schema.SCHEMA_VERSION), data_dir=str(version_folder), module_name=__name__
    )
    info = tfds.core.DatasetInfo(
        builder=identity, features=schema.features(), description=description, disable_shuffling=True
    )
    # Not a builder's `download_and_prepare`: that buffers a split in memory up to 1 GB, needs TensorFlow's file layer
    # beyond, and reads everything back into memory, since keys that keep the order fall into one bucket of its shuffle.
    shard = max(1, int(SHARD_BYTES // max(record_bytes, 1.0)))
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=shard, file_format="array_record")
    writer._serializer = SameBytes(info.features.get_serialized_info())  # the writer has no argument for it
    writer.initialize_splits(list(splits))
    try:
        for split, records in splits.items():
            for batch in _batches(records):
                writer.add_examples({split: batch})
            writer.close_splits([split])
    except RuntimeError as error:  # ArrayRecord raises no other type
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(version_folder)) from error
        raise
    return version_folder


def _batches(records: Iterable[schema.Record]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for record in records:
        example = schema.to_example(record)
        batch.append(example)
        size += len(record.video) + len(example["masks"])
        if len(batch) == BATCH_RECORDS or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
