"""Fixture with the official files of MSR-VTT, which are large and read once."""

import pytest


@pytest.fixture(scope="package")
def official(read_official):
    return read_official("msrvtt")
