#!/usr/bin/env bash
# Brings a Debian 12 machine on x86-64, as root, to where `make neon` works: a cross compiler, QEMU, and for 64-bit ARM
# the libraries that quant/ stands on. Idempotent.
set -euo pipefail
cd "$(dirname "$0")/.."

libraries=(libhwy-dev:arm64 libxxhash-dev:arm64 libfmt-dev:arm64 libgtest-dev:arm64 libgmock-dev:arm64)

cmake/setup.sh g++-aarch64-linux-gnu qemu-user-static
if ! dpkg-query -W "${libraries[@]}" >/dev/null 2>&1; then
  echo "neon: installing ${libraries[*]}" >&2
  dpkg --add-architecture arm64
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${libraries[@]}" >/dev/null
fi
