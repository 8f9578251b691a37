"""Fixture with the official files of MSR-VTT, which are large and read once."""

import pytest
from svilm_data.datasets.msrvtt import DATASET

from tests.data.official_cases import read


@pytest.fixture(scope="package")
def official(realdata):
    return read(DATASET, realdata / "annotations" / "msrvtt")
