#!/usr/bin/env bash
# What `thinwire bench --peers` measures beside us, in build/venv: Python torch of our own LibTorch's version, with its
# Python dependencies. Not needed otherwise. Idempotent; without network it says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=$(sed -n 's/^torch_version=//p' cmake/setup.sh)
venv=build/venv
[ -x $venv/bin/python ] || python3 -m venv $venv
$venv/bin/python -c 'import torch' 2>/dev/null || $venv/bin/python -m pip install --quiet "torch==$torch_version"
$venv/bin/python -c 'import torch; print("peer: Python torch", torch.__version__)'
