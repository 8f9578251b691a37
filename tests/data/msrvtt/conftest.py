"""What do the official files of MSR-VTT say? Read once, for they are large."""

import pytest
from svilm_data.msrvtt import DATASET

from ..official_cases import read


@pytest.fixture(scope="package")
def official(realdata):
    return read(DATASET, realdata / "annotations" / "msrvtt")
