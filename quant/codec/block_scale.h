// The scale of a block: what a level of 1 means in it.
//
// Common to all: a magnitude above 2^100 (an infinity too) counts as 2^100; a scale below 2^-126, the least
// normal float32, becomes 0, and the block is then coded as zeros. Scales whose levels are not powers of two
// keep 16 significant bits, so that level * scale is exact unless it is denormal, and so that re-encoding a
// decoded block mostly finds the same scale (docs/wire_format.md says when).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/codec/host_device.h"

namespace thinwire::quant {

inline constexpr float kLargestMagnitude = 0x1p100f;
inline constexpr float kLeastScale = 0x1p-126f;

// The largest magnitude lies on the level `top`: s = max|x| / top.
// exact_range_scale keeps all 24 bits; range_scale rounds up to 16, so that top * s still covers the block,
// to within the division's rounding. The largest magnitude then lies up to 2^-15 below the top: a stochastic
// code of it may be the level below.
float exact_range_scale(std::span<const float> values, float top);
float range_scale(std::span<const float> values, float top);

// Two magnitudes w of levels, low and high, split at `split` times the mean magnitude; s minimises
// sum (|x| - w s)^2 for that split: s = sum w|x| / sum w^2. Values beyond high * s are cut off, but never
// below `cover` of the largest magnitude: s is at least cover * max|x| / high before it is rounded, so that
// under error feedback a residual stays bounded by the largest delta. Rounded to the nearest of 16 bits. The
// sums run in 16 lanes in a fixed order (see the source), equal for every vector width.
struct TwoLevels {
  float split = 0;
  float low = 1;
  float high = 1;
  float cover = 0;
};
float least_squares_scale(std::span<const float> values, const TwoLevels& levels);

// The steps that the vector and CUDA kernels share; inline, for they are called once a block.

THINWIRE_HOST_DEVICE inline float limited(float magnitude) {
  return magnitude < kLargestMagnitude ? magnitude : kLargestMagnitude;
}

// NaN gives 0 too.
THINWIRE_HOST_DEVICE inline float zero_if_tiny(float scale) {
  return scale >= kLeastScale ? scale : 0.0f;
}

// largest: max|x|, not yet limited.
THINWIRE_HOST_DEVICE inline float exact_range_scale_of(float largest, float top) {
  return zero_if_tiny(limited(largest) / top);
}

THINWIRE_HOST_DEVICE inline float range_scale_of(float largest, float top) {
  const auto bits = std::bit_cast<std::uint32_t>(limited(largest) / top);
  return zero_if_tiny(std::bit_cast<float>((bits + 0xffu) & ~0xffu));  // up to 16 significant bits
}

inline constexpr std::size_t kSumLanes = 16;
// Lanes 8, 4, 2 and 1 apart are added, in this order.
float lane_total(std::array<float, kSumLanes> lanes);

struct BlockSums {
  std::size_t num_values = 0;
  std::size_t num_high = 0;  // values of weight `high`
  float weighted = 0;        // sum of weight * magnitude
  float largest = 0;
};

THINWIRE_HOST_DEVICE inline float least_squares_scale_of(const BlockSums& sums, const TwoLevels& levels) {
  const float squares = static_cast<float>(sums.num_high) * levels.high * levels.high +
                        static_cast<float>(sums.num_values - sums.num_high) * levels.low * levels.low;
  const float fitted = sums.weighted / squares;
  const float covering = levels.cover * limited(sums.largest) / levels.high;
  // To 16 significant bits, ties to even.
  const auto bits = std::bit_cast<std::uint32_t>(fitted > covering ? fitted : covering);
  return zero_if_tiny(std::bit_cast<float>((bits + 0x7fu + ((bits >> 8) & 1u)) & ~0xffu));
}

}  // namespace thinwire::quant
