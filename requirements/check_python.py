"""Version check for `make`: stops with one sentence if the lock file was not resolved for this interpreter."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        f"svilm_jax: {sys.executable} is Python {sys.version_info.major}.{sys.version_info.minor}; "
        "3.11, 3.12 or 3.13 is needed. Name another one: make PYTHON=python3.12 ..."
    )
