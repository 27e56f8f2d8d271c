#!/usr/bin/env bash
# NCCL, for the backend of that name: header and library of its PyPI wheel, into build/nccl, where CMake looks. About
# 300 MB; needs the CUDA toolkit 13 at build. Not needed for anything else. Idempotent.
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=nvidia-nccl-cu13==2.32.3
folder=build/nccl
venv=build/venv
if [ ! -f $folder/nvidia/nccl/include/nccl.h ]; then
  echo "gpu: downloading $wheel into $folder" >&2
  rm -rf $folder
  mkdir -p $folder
  [ -x $venv/bin/python ] || python3 -m venv $venv
  $venv/bin/python -m pip download --quiet --no-deps --dest $folder "$wheel"
  $venv/bin/python -m zipfile -e $folder/*.whl $folder
  rm $folder/*.whl
fi
echo "gpu: NCCL is in $folder; configure again to build with it"
