"""Sphinx configuration: Markdown by MyST, API pages by autodoc, notebooks executed by MyST-NB."""

import os
import sys
from importlib import metadata
from pathlib import Path

# Examples and autodoc run on the CPU of whatever machine builds the pages.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Twenty steps of a small model: optimizing the compiled program would take longer than it saves.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
# The notebooks run `svilm` of this environment.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))

project = "svilm_jax"
author = "The svilm_jax authors"
copyright = author  # noqa: A001 (Sphinx's name)
release = metadata.version("svilm_jax")
sys.path.append(str(Path(__file__).parent))  # for `mathml`
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"svilm_jax {release}"
html_math_renderer = "mathml"  # MathJax would be fetched from the network

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

# A notebook that has not changed since the last build is not executed again.
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build" / ".notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = -1  # a busy machine is no error
nb_merge_streams = True

smartquotes = False  # `--workdir` and `""` stay as they are
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "code"  # single backticks in docstrings
napoleon_google_docstring = True
napoleon_use_rtype = False
napoleon_numpy_docstring = False
nitpicky = False
