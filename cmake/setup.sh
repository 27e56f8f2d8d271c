#!/usr/bin/env bash
# Brings a Debian 12 machine to where thinwire builds: system packages, and LibTorch from its pip wheel.
# Idempotent; with everything present it takes under a second and needs no network. Nothing is fetched later,
# while building.
#
#   Torch_DIR=/path/to/share/cmake/Torch   use an existing LibTorch; no wheel is installed
#   THINWIRE_TORCH_PIP_ARGS="..."          further arguments of pip, e.g. --index-url of a CPU or a CUDA build
#
# Arguments name further packages, for targets that few need.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.13.0
venv=build/venv
packages=(
  git g++ make cmake ninja-build ccache mold pkg-config python3-venv procps iproute2 clang-format clang-tidy
  libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libssl-dev
  libopenmpi-dev openmpi-bin libhwy-dev libxxhash-dev zlib1g-dev libsentencepiece-dev
  libfmt-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libgtest-dev libgmock-dev
  wordnet-base dataset-fashion-mnist
  "$@"
)

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system; make sure that these are here under your system's names: ${packages[*]}"
    return
  fi
  local missing=() name present
  present=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
  for name in "${packages[@]}"; do
    grep -qx "$name installed" <<<"$present" || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "as root, install: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# pip writes RECORD last, so a wheel whose installation was cut short does not count.
has_wheel() { compgen -G "$venv/lib/python3*/site-packages/torch-$torch_version*.dist-info/RECORD" >/dev/null; }

install_torch() {
  if [ -n "${Torch_DIR:-}" ]; then
    [ -f "$Torch_DIR/TorchConfig.cmake" ] || die "Torch_DIR is $Torch_DIR, which holds no TorchConfig.cmake"
    return
  fi
  has_wheel && return
  say "installing torch $torch_version into $venv"
  local python=/usr/bin/python3 pip_args
  [ -x $python ] || python=python3
  "$python" -m venv --clear "$venv"
  read -ra pip_args <<<"${THINWIRE_TORCH_PIP_ARGS:-}"
  # Only the C++ side of the wheel is used, so its Python dependencies stay out.
  "$venv/bin/python" -m pip install --quiet --no-deps "${pip_args[@]}" "torch==$torch_version"
}

install_packages
install_torch
