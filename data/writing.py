"""How do records become files? One TFDS builder for every dataset, ArrayRecord inside."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.input import schema

Records = Callable[[], Iterator[schema.Record]]


def write_records(name: str, splits: Mapping[str, Records], folder: Path, description: str) -> Path:
    """Writes a TFDS dataset.

    Args:
      name: of the dataset, as TFDS wants it (letters, digits and underscores).
      splits: of each split, a function that returns its records in the order in which they are to lie on disk;
        records are asked for one after the other and not kept.
      folder: receives `name/<version>/`.
      description: goes into dataset_info.json.

    Returns:
      The version folder.
    """
    # TFDS is slow to import and tells TensorFlow's C++ side to speak; only this function needs it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the steps before are the slow ones, and have a bar each

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[misc, call-arg]
        """A dataset of `schema.Record`s."""

        VERSION = tfds.core.Version(schema.SCHEMA_VERSION)

        def _info(self) -> Any:
            # Integer keys without shuffling keep the order: look-alikes stay next to each other.
            return tfds.core.DatasetInfo(
                builder=self, features=schema.features(), description=description, disable_shuffling=True
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(records) for split, records in splits.items()}

        def _generate_examples(self, records: Records) -> Iterator[tuple[int, dict[str, Any]]]:
            for number, record in enumerate(records()):
                yield number, schema.to_example(record)

    Builder.name = name
    builder = Builder(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_path)
