#!/usr/bin/env bash
# Rewrites requirements/lock.txt (what `make demo` installs), lock-dev.txt (`make test`), lock-docs.txt (`make docs`,
# installed on top of either), lock-writers.txt (`make test-services`, on top of all of these) and lock-NAME.txt for the
# environments of one feature each (`make test-NAME`, on top of lock-dev.txt: only what that lacks or has in another
# version). Exact versions with hashes, one file for Python 3.11 to 3.13 through environment markers, no index address.
# Versions of the present files are kept where they still fit; for the newest ones, delete the files first. Needs uv.
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

whole=$(mktemp)
trap 'rm -f "$whole"' EXIT
layer() {
  local name=$1
  shift
  touch "lock-$name.txt"
  cat lock-dev.txt "lock-$name.txt" >"$whole" # versions that uv prefers
  compile "$whole" "$@"
  # A pin is an unindented line, followed by its hashes.
  awk '/^[^ ]/ { keep = NR > FNR && !($0 in known); if (NR == FNR) known[$0] } keep' lock-dev.txt "$whole" \
    >"lock-$name.txt"
}
layer beam base.in spacy.in build.in beam.in
layer launch launch.in
layer minilm minilm.in --no-deps
layer onnx onnx.in build.in
layer ray ray.in
layer saved-model base.in spacy.in build.in tf.in
layer search base.in spacy.in build.in search.in
layer tpu base.in spacy.in build.in tpu.in
