"""Installs `svilm_jax` (how it runs) and `data/`, importable as `svilm_data` (how datasets are prepared)."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of requirements/<name>.in that name a package."""
    lines = (HERE / "requirements" / f"{name}.in").read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if line.strip() and not line.startswith(("#", "-"))]


setup(
    name="svilm_jax",
    version="0.1.0",
    description="Structured video-language pre-training in JAX: where words are, and when scenes change.",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # A top-level package called `data` would shadow other people's: the folder keeps its plain name
    # in the repository and is installed under a name of its own.
    package_dir={"svilm_data": "data"},
    packages=[
        *find_packages(include=["svilm_jax", "svilm_jax.*"]),
        "svilm_data",
        *(f"svilm_data.{name}" for name in find_packages("data")),
    ],
    package_data={"svilm_jax": ["input/vocabularies/*", "report/templates/*"]},
    install_requires=requirements("base"),
    extras_require={
        "spacy": requirements("spacy"),
        "beam": requirements("beam"),
        "serve": requirements("serve"),
        "tf": requirements("tf"),
        "parity": requirements("parity"),
        "dev": requirements("serve") + requirements("dev"),
        "bench": requirements("bench"),
        "tpu": ["jax[tpu]"],
        "cuda": ["jax[cuda12]"],
    },
    entry_points={"console_scripts": ["svilm=svilm_jax.main:main"]},
)
