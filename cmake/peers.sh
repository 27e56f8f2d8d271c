#!/usr/bin/env bash
# What `thinwire bench --peers` measures beside us, in build/venv: Python torch of our own LibTorch's version, with its
# Python dependencies, pi-quant and bitsandbytes. Not needed otherwise. Idempotent; without network it says what is
# missing. A quantiser that does not install is named and left out.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=$(sed -n 's/^torch_version=//p' cmake/setup.sh)
venv=build/venv
[ -x $venv/bin/python ] || python3 -m venv $venv
$venv/bin/python -c 'import torch' 2>/dev/null || $venv/bin/python -m pip install --quiet "torch==$torch_version"
$venv/bin/python -c 'import torch; print("peer: Python torch, with Gloo", torch.__version__)'
# Without their dependencies, of which torch is one, in another build.
for peer in numpy packaging cffi pycparser pypiquant bitsandbytes pypccl; do
  $venv/bin/python -m pip show --quiet $peer 2>/dev/null || $venv/bin/python -m pip install --quiet --no-deps $peer ||
    echo "peer: $peer does not install, and is left out"
done
