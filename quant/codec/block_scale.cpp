#include "quant/codec/block_scale.h"

#include <cmath>

namespace thinwire::quant {
namespace {

float largest_magnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) {
    const float a = limited(std::fabs(value));
    largest = a > largest ? a : largest;
  }
  return largest;
}

}  // namespace

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
