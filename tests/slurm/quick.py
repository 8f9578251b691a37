"""`tests/tiny.py` with a single objective, which compiles in a few seconds; a --config file."""

from tests import tiny


def get_config(arg=None):
    config = tiny.get_config(arg)
    config.objectives = {"global_contrast": {}}
    return config
