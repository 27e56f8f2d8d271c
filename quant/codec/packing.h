// Where the code of value i of a block lies among the block's bytes. Scalar definitions.
#pragma once

#include <cstddef>

#include "quant/codec/host_device.h"

namespace thinwire::quant {

// kBits (1, 2, 4 or 8) bits a code, value 0 in the lowest bits of byte 0. n codes take ceil(n * kBits /
// 8) bytes; the unused high bits of the last byte are 0, and not read.
template <unsigned kBits>
struct BitPacking {
  static constexpr unsigned kCodeBits = kBits;
  static constexpr std::size_t bytes(std::size_t n) { return (n * kBits + 7) / 8; }

  // codes: zeroed before the first put.
  static void put(std::byte* codes, std::size_t /*n*/, std::size_t i, unsigned code) {
    codes[i * kBits / 8] |= static_cast<std::byte>(code << (i * kBits % 8));
  }
  THINWIRE_HOST_DEVICE static unsigned get(const std::byte* codes, std::size_t /*n*/, std::size_t i) {
    return (static_cast<unsigned>(codes[i * kBits / 8]) >> (i * kBits % 8)) & ((1u << kBits) - 1u);
  }
};

// Five base-3 digits a byte in planes: with P = ceil(n/5) bytes, byte j holds the digits of the values j, j +
// P, j + 2P, j + 3P and j + 4P, the first as the units. Absent values have digit 0, which is not read. 1.6
// bits a value.
struct TernaryPacking {
  static constexpr std::size_t bytes(std::size_t n) { return (n + 4) / 5; }

  static void put(std::byte* codes, std::size_t n, std::size_t i, unsigned code) {
    const std::size_t planes = bytes(n);
    std::byte& target = codes[i % planes];
    target = static_cast<std::byte>(static_cast<unsigned>(target) + code * kPowers[i / planes]);
  }
  static unsigned get(const std::byte* codes, std::size_t n, std::size_t i) {
    const std::size_t planes = bytes(n);
    return static_cast<unsigned>(codes[i % planes]) / kPowers[i / planes] % 3;
  }

 private:
  static constexpr unsigned kPowers[5] = {1, 3, 9, 27, 81};
};

}  // namespace thinwire::quant
