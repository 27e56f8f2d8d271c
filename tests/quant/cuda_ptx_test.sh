#!/usr/bin/env bash
# The kernels' arithmetic as the compiler wrote it: no product fused with a sum, no flushed denormals, no approximate
# division. Needs no device. usage: cuda_ptx_test.sh KERNELS.ptx
set -euo pipefail
fail() { echo "cuda_ptx_test: $*" >&2; exit 1; }
grep -q 'div\.rn\.f32' "$1" || fail "expected IEEE divisions in $1, found none; does it hold the kernels?"
if grep -E '(fma|mad)\.[a-z.]*f32|\.ftz\.|\.approx\.|div\.full' "$1"; then
  fail "expected IEEE float32 without contraction, found the instructions above; look at the flags of nvcc"
fi
