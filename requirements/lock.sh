#!/usr/bin/env bash
# Rewrites requirements/lock.txt (what `make demo` installs), lock-dev.txt (`make test`), lock-docs.txt (`make docs`,
# installed on top of either) and lock-writers.txt (`make test-services`, installed on top of the others): exact versions
# with hashes, one file for Python 3.11 to 3.13 through environment markers, no index address. Versions of the present
# files are kept where they still fit; for the newest ones, delete the files first. Needs uv.
set -euo pipefail
cd "$(dirname "$0")"
compile() {
  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
    --no-header --no-annotate --quiet --output-file "$@"
}
compile lock.txt base.in spacy.in build.in
compile lock-dev.txt base.in spacy.in serve.in build.in dev.in --constraint lock.txt
compile lock-docs.txt base.in spacy.in build.in docs.in --constraint lock-dev.txt
compile lock-writers.txt wandb.in trackio.in --constraint lock-dev.txt --constraint lock-docs.txt
