"""Layer over a virtual environment, for `make`: the running one sees the packages of another, its own come first.

Usage: `.venv-beam/bin/python requirements/layer.py .venv`.
"""

import sys
import sysconfig
from pathlib import Path

base = sysconfig.get_path("purelib", "venv", {"base": str(Path(sys.argv[1]).resolve())})
# Not the plain path, which would leave out the path files there, such as that of the project itself.
Path(sysconfig.get_path("purelib"), "base.pth").write_text(f"import site; site.addsitedir({base!r})\n")
