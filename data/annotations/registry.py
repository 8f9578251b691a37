"""Registry of published datasets: those of this package, and those that other packages add."""

import importlib

from svilm_data.annotations.published_dataset import DatasetSpec

from svilm_jax.config.registration import load_plugins

# Packages of `svilm_data.datasets` with a published dataset, each of which exports `DATASET`.
PUBLISHED_DATASETS: tuple[str, ...] = (
    "msrvtt",
    "msrvtt_qa",
    "msvd",
    "msvd_qa",
    "activitynet_qa",
    "ucf101",
    "hmdb51",
    "activitynet",
    "activitynet_captions",
    "charades_sta",
    "didemo",
    "tvr",
    "tvqa",
    "violin",
    "videocc",
    "howto100m",
)
_ADDED: dict[str, DatasetSpec] = {}


def register_dataset(dataset: DatasetSpec) -> None:
    """Adds a dataset from outside this package: `svilm prepare` gets a subcommand of its name.

    Call it in a module that an entry point of the group `svilm_jax.plugins` names.

    Raises:
      ValueError: the name is taken.
    """
    taken = (*PUBLISHED_DATASETS, "moving_shapes", "captioned_videos")
    if dataset.name in taken or _ADDED.get(dataset.name, dataset) is not dataset:
        raise ValueError(f"dataset {dataset.name!r} is registered already")
    _ADDED[dataset.name] = dataset


def published_datasets() -> list[DatasetSpec]:
    """Returns every dataset with official annotation files, those of this package first."""
    load_plugins()
    modules = (importlib.import_module(f"svilm_data.datasets.{name}") for name in PUBLISHED_DATASETS)
    return [*(module.DATASET for module in modules), *_ADDED.values()]
