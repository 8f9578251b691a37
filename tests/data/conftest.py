"""Fixture that reads the official annotation files of a dataset, each once per process."""

import argparse
import functools

import pytest
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.registry import published_datasets

FOLDERS = {"activitynet_captions": "anet_captions"}  # of datasets whose files are held under another name


@pytest.fixture(scope="session")
def read_official(realdata):
    """(dataset, folder of one of its formats, arguments of `svilm prepare`) -> what the dataset reads."""
    datasets = {dataset.name: dataset for dataset in published_datasets()}

    @functools.cache
    def read(name, form="", **arguments):
        folder = realdata / "annotations" / FOLDERS.get(name, name) / form
        return datasets[name].read(OfficialFiles(folder), argparse.Namespace(**arguments))

    return read
