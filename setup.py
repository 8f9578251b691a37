"""Maps the folders of the repository to packages; everything else is in pyproject.toml.

Top-level packages called `data` and `configs` would shadow other people's: the folders keep their plain names in the
repository and are installed as `svilm_data` and `svilm_configs`.
"""

from setuptools import find_packages, setup

setup(
    package_dir={"svilm_data": "data", "svilm_configs": "configs"},
    packages=[
        *find_packages(include=["svilm_jax", "svilm_jax.*"]),
        "svilm_data",
        *(f"svilm_data.{name}" for name in find_packages("data")),
        "svilm_configs",
    ],
)
