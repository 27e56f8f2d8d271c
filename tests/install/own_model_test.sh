#!/usr/bin/env bash
# A user's program: installs thinwire to a new prefix, builds examples/own_model.cpp against it outside the tree, and
# runs it with two workers. They must end with the same agreed copy, and the model must have learned.
# usage: own_model_test.sh SOURCE_DIR BUILD_DIR TORCH_DIR
set -euo pipefail
source_dir=$1 build_dir=$2 torch_dir=$3
work=$build_dir/own_model_test
rm -rf "$work"

launcher=()
if command -v ccache >/dev/null; then
  export CCACHE_BASEDIR=$source_dir CCACHE_NOHASHDIR=1
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi
cmake --install "$build_dir" --prefix "$work/prefix" >/dev/null
cmake -G Ninja -S "$source_dir/examples" -B "$work/build" -DCMAKE_BUILD_TYPE=Release "${launcher[@]}" \
  -DCMAKE_PREFIX_PATH="$work/prefix" -DTorch_DIR="$torch_dir" >/dev/null
cmake --build "$work/build"

"$work/prefix/bin/thinwire" launch -n 2 -- "$work/build/own_model" 150 | tee "$work/output"

fail() { echo "own_model_test: $*" >&2; exit 1; }
digests=$(sed -n 's/.*digest \([0-9a-f]\{32\}\).*/\1/p' "$work/output")
[ "$(wc -l <<<"$digests")" -eq 2 ] || fail "expected one digest from each of two workers"
[ "$(sort -u <<<"$digests" | wc -l)" -eq 1 ] || fail "the workers ended with different agreed copies"
accuracy=$(sed -n 's/.*accuracy \([0-9.]*\).*/\1/p' "$work/output")
awk -v a="$accuracy" 'BEGIN { exit !(a > 0.6) }' || fail "expected an accuracy above 0.6, found '$accuracy'"
