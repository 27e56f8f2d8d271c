#include "quant/codec/block_scale.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace thinwire::quant {
namespace {

float limited(float magnitude) {
  return magnitude < kLargestMagnitude ? magnitude : kLargestMagnitude;
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) {
    const float a = limited(std::fabs(value));
    largest = a > largest ? a : largest;
  }
  return largest;
}

// To 16 significant bits.
float round_up(float scale) {
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(scale) + 0xffu) & ~0xffu);
}

// To 16 significant bits, ties to even.
float round_to_nearest(float scale) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(scale);
  return std::bit_cast<float>((bits + 0x7fu + ((bits >> 8) & 1u)) & ~0xffu);
}

// NaN gives 0 too.
float zero_if_tiny(float scale) {
  return scale >= kLeastScale ? scale : 0.0f;
}

}  // namespace

float exact_range_scale_of(float largest, float top) {
  return zero_if_tiny(limited(largest) / top);
}

float range_scale_of(float largest, float top) {
  return zero_if_tiny(round_up(limited(largest) / top));
}

float exact_range_scale(std::span<const float> values, float top) {
  return exact_range_scale_of(largest_magnitude(values), top);
}

float range_scale(std::span<const float> values, float top) {
  return range_scale_of(largest_magnitude(values), top);
}

float lane_total(std::array<float, kSumLanes> lanes) {
  for (std::size_t apart = kSumLanes / 2; apart > 0; apart /= 2) {
    for (std::size_t j = 0; j < apart; ++j) lanes[j] += lanes[j + apart];
  }
  return lanes[0];
}

float least_squares_scale_of(const BlockSums& sums, const TwoLevels& levels) {
  const float squares = static_cast<float>(sums.num_high) * levels.high * levels.high +
                        static_cast<float>(sums.num_values - sums.num_high) * levels.low * levels.low;
  const float fitted = sums.weighted / squares;
  const float covering = levels.cover * limited(sums.largest) / levels.high;
  return zero_if_tiny(round_to_nearest(fitted > covering ? fitted : covering));
}

float least_squares_scale(std::span<const float> values, const TwoLevels& levels) {
  std::array<float, kSumLanes> magnitudes{};
  for (std::size_t i = 0; i < values.size(); ++i) magnitudes[i % kSumLanes] += limited(std::fabs(values[i]));
  const float split = levels.split * (lane_total(magnitudes) / static_cast<float>(values.size()));

  BlockSums sums{.num_values = values.size(), .largest = largest_magnitude(values)};
  std::array<float, kSumLanes> weighted{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float a = limited(std::fabs(values[i]));
    sums.num_high += a > split;
    weighted[i % kSumLanes] += (a > split ? levels.high : levels.low) * a;
  }
  sums.weighted = lane_total(weighted);
  return least_squares_scale_of(sums, levels);
}

}  // namespace thinwire::quant
