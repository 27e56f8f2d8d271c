// The draws of stochastic rounding: a pure function of (key, offset of the value in the payload).
//
// One 32-bit hash serves two values, 16 bits each: of every aligned 32 values, number j (j < 16) takes the
// low half and number j + 16 the high half of the same hash, so that a vector of any width up to 16 lanes
// uses whole hashes. The mixing constants are those of "lowbias32" (C. Wellons, Hash Prospector, 2018). Draws
// repeat after 2^33 values of one payload.
#pragma once

#include <cstdint>

#include "quant/codec/host_device.h"

namespace thinwire::quant {

THINWIRE_HOST_DEVICE inline std::uint32_t draw_hash(std::uint64_t key, std::uint32_t counter) {
  std::uint32_t h = counter ^ static_cast<std::uint32_t>(key);
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= (h >> 15) ^ static_cast<std::uint32_t>(key >> 32);
  h *= 0x846ca68bu;
  h ^= h >> 16;
  return h;
}

// 16 uniform bits for the value at `offset`.
THINWIRE_HOST_DEVICE inline std::uint32_t draw_bits(std::uint64_t key, std::uint64_t offset) {
  const std::uint32_t h = draw_hash(key, static_cast<std::uint32_t>(offset / 32 * 16 + offset % 16));
  return offset % 32 < 16 ? h & 0xffffu : h >> 16;
}

// The draws of the formats that round in fixed point, by a sum: floor(y + fixed_draw / 2^15), y a multiple of
// 2^-15, is y in the mean. 15 uniform bits.
inline constexpr unsigned kFixedBits = 15;
THINWIRE_HOST_DEVICE inline std::uint32_t fixed_draw(std::uint64_t key, std::uint64_t offset) {
  const std::uint32_t h = draw_hash(key, static_cast<std::uint32_t>(offset / 32 * 16 + offset % 16));
  return offset % 32 < 16 ? h & 0x7fffu : h >> 17;
}

// One of the 65536 values (k + 1/2) / 65536, exact in float32. "Up with probability f" is `unit < f`: the
// probability differs from f by at most 2^-17.
THINWIRE_HOST_DEVICE inline float draw_unit(std::uint64_t key, std::uint64_t offset) {
  return (static_cast<float>(draw_bits(key, offset)) + 0.5f) * 0x1p-16f;
}

// The code of a value by the draws that the format's rule takes (reference_loops.h).
template <class Rule>
THINWIRE_HOST_DEVICE inline unsigned stochastic_code(float value, float scale, std::uint64_t key,
                                                     std::uint64_t offset) {
  if constexpr (requires { Rule::drawn(value, 0u); }) {
    return Rule::drawn(value * (1.0f / scale), fixed_draw(key, offset));
  } else {
    return Rule::stochastic(value / scale, draw_unit(key, offset));
  }
}

}  // namespace thinwire::quant
