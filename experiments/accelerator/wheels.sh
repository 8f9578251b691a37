#!/usr/bin/env bash
# Collects what `python -m experiments.accelerator` needs on a machine without network that has Python 3.12, JAX with
# CUDA, Flax, Optax, Orbax, TensorStore and PyTorch: wheels in experiments/accelerator/carried/{step,full}, and the noun
# phrases of moving shapes beside them.
#     step  parts 1 to 4: no decoding, no checkpoints
#     full  all parts
# Versions are those of requirements/lock.txt. Needs pip, and for the phrases a prepared moving_shapes (first argument).
set -euo pipefail
cd "$(dirname "$0")/../.."
DATASET=${1:-runs/data/moving_shapes}
PYTHON=${PYTHON:-python3}
OUT=experiments/accelerator/carried
STEP="absl-py ml-collections optax flax einops jaxtyping wadler-lindig setuptools wheel"
FULL="$STEP clu orbax-checkpoint grain array-record tensorflow-datasets av tensorboardx ijson etils immutabledict
  importlib-resources promise simple-parsing tensorflow-metadata toml dm-tree docstring-parser googleapis-common-protos
  portpicker attrs six flatbuffers"
LIMIT=$((50 * 1024 * 1024))

pinned() {  # name==version of requirements/lock.txt, for Python 3.12
  awk -v name="$1" 'BEGIN { FS = "[= ;]+" }
    $1 == name && ($0 !~ /python_full_version </ ) { print $1 "==" $2; exit }' requirements/lock.txt
}

collect() {
  local folder=$OUT/$1 package requirement
  shift
  rm -rf "$folder" && mkdir -p "$folder"
  for package in "$@"; do
    requirement=$(pinned "$package")
    if [ "$package" = promise ]; then  # published as source alone, and pure Python
      "$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir "$folder" "${requirement:-$package}"
      continue
    fi
    "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" --python-version 3.12 \
      --implementation cp --abi cp312 --abi abi3 --abi none --platform manylinux_2_28_x86_64 \
      --platform manylinux_2_27_x86_64 --platform manylinux_2_24_x86_64 --platform manylinux_2_17_x86_64 \
      --platform manylinux2014_x86_64 --platform manylinux1_x86_64 "${requirement:-$package}"
  done
  local size
  size=$(du -sb "$folder" | cut -f1)
  echo "$folder: $((size / 1024 / 1024)) MiB"
  if [ "$size" -gt "$LIMIT" ]; then
    echo "$folder: $size bytes, more than $LIMIT" >&2
    return 1
  fi
}

collect step $STEP
collect full $FULL
if [ -d "$DATASET" ]; then
  "$PYTHON" -m experiments.accelerator.phrases "$DATASET" "$OUT/moving_shapes_phrases.json"
else
  echo "$DATASET: not there, so no noun phrases: svilm prepare moving_shapes --out $(dirname "$DATASET")" >&2
fi
