#!/usr/bin/env bash
# Rewrites requirements.lock (what `make demo` installs) and requirements-dev.lock (`make test`): exact
# versions with hashes, one file for Python 3.11 to 3.13 through environment markers, no index address.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
    --no-header --no-annotate --quiet --output-file "$@"
}
compile requirements.lock requirements/base.in requirements/spacy.in requirements/build.in
compile requirements-dev.lock requirements/base.in requirements/spacy.in requirements/serve.in requirements/build.in requirements/dev.in --constraint requirements.lock
