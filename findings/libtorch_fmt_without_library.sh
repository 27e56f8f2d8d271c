#!/usr/bin/env bash
# LibTorch's include folder carries fmt's headers, newer than the system's, and no library of them.
#
# Expected: a program that uses LibTorch and the system's fmt (find_package(fmt), -lfmt) compiles and links, each
#   include finding the headers of the library that is linked.
# So it is: with LibTorch's include folder given by -isystem, as its CMake package does, <fmt/format.h> is
#   LibTorch's copy (fmt 12.1.0 in torch 2.13.0). Its names are in the namespace fmt::v12, which neither libfmt (9.1.0
#   on Debian 12) nor any library of LibTorch defines: the link fails. Only FMT_HEADER_ONLY, or fmt's functions compiled
#   once from <fmt/format-inl.h>, helps; the first costs some 3.6 s of a core in every source, against 0.6.
#
# Needs g++, libfmt-dev (Debian 12) and python3 with pip. TORCH_PIP_ARGS: further arguments of pip, an index for one.
# Tried with torch 2.13.0, g++ 12.2.0, libfmt 9.1.0. Output:
#   fmt of LibTorch: 120100, of the system: 90100
#   LibTorch has no libfmt, and exports no fmt::v12::vformat
#   link with the system's libfmt: undefined reference to `fmt::v12::vformat
#   link with FMT_HEADER_ONLY: 42
set -euo pipefail
fail() { echo "changed: $*" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# shellcheck disable=SC2086  # arguments, several of them
python3 -m pip install --quiet --no-deps --target "$folder/site" ${TORCH_PIP_ARGS:-} torch==2.13.0
torch=$folder/site/torch
version_in() { { grep -hos 'define FMT_VERSION [0-9]*' "$1"/fmt/base.h "$1"/fmt/core.h || true; } | head -1 | grep -o '[0-9]*$'; }
ours=$(version_in "$torch/include") system=$(version_in /usr/include)
echo "fmt of LibTorch: $ours, of the system: $system"
[ "${ours:0:2}" = 12 ] || fail "expected fmt 12 in torch 2.13.0"

find "$torch" -name 'libfmt*' | grep -q . && fail "LibTorch has a libfmt now"
for library in "$torch"/lib/libc10.so "$torch"/lib/libtorch_cpu.so; do
  if nm -DC --defined-only "$library" | grep -q 'fmt::v12::vformat\['; then fail "$library exports vformat"; fi
done
echo "LibTorch has no libfmt, and exports no fmt::v12::vformat"

cat > "$folder/a.cpp" <<'CPP'
#include <cstdio>
#include <fmt/format.h>
int main() { std::puts(fmt::format("{}", 42).c_str()); }
CPP
compile=(g++ -std=c++20 -isystem "$torch/include" "$folder/a.cpp" -o "$folder/a")
if "${compile[@]}" -lfmt 2> "$folder/log"; then fail "it links with the system's libfmt"; fi
echo "link with the system's libfmt: $(grep -o 'undefined reference to `fmt::v12::vformat' "$folder/log" | head -1)"
grep -q 'undefined reference to `fmt::v12' "$folder/log" || fail "another error: $(head -3 "$folder/log")"
"${compile[@]}" -DFMT_HEADER_ONLY
echo "link with FMT_HEADER_ONLY: $("$folder/a")"
