#include "quant/codec/block_scale.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace thinwire::quant {
namespace {

constexpr std::size_t kLanes = 16;

float magnitude(float value) {
  const float a = std::fabs(value);
  return a < kLargestMagnitude ? a : kLargestMagnitude;
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) {
    const float a = magnitude(value);
    largest = a > largest ? a : largest;
  }
  return largest;
}

// Lane j holds the terms j, j + 16, j + 32, ... added in that order; then lanes 8, 4, 2 and 1 apart are
// added.
class LaneSum {
 public:
  void add(std::size_t i, float term) { lanes_[i % kLanes] += term; }
  float total() const {
    std::array<float, kLanes> lanes = lanes_;
    for (std::size_t apart = kLanes / 2; apart > 0; apart /= 2) {
      for (std::size_t j = 0; j < apart; ++j) lanes[j] += lanes[j + apart];
    }
    return lanes[0];
  }

 private:
  std::array<float, kLanes> lanes_{};
};

}  // namespace

float round_scale_up(float scale) {
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(scale) + 0xffu) & ~0xffu);
}

float round_scale_nearest(float scale) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(scale);
  return std::bit_cast<float>((bits + 0x7fu + ((bits >> 8) & 1u)) & ~0xffu);
}

float usable_scale(float scale) {
  return scale >= kLeastScale ? scale : 0.0f;
}

float exact_range_scale(std::span<const float> values, float top) {
  return usable_scale(largest_magnitude(values) / top);
}

float range_scale(std::span<const float> values, float top) {
  return usable_scale(round_scale_up(largest_magnitude(values) / top));
}

float least_squares_scale(std::span<const float> values, const TwoLevels& levels) {
  if (values.empty()) return 0;
  LaneSum magnitudes;
  for (std::size_t i = 0; i < values.size(); ++i) magnitudes.add(i, magnitude(values[i]));
  const float mean = magnitudes.total() / static_cast<float>(values.size());
  const float split = levels.split * mean;

  LaneSum weighted;
  std::size_t num_high = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float a = magnitude(values[i]);
    num_high += a > split;
    weighted.add(i, (a > split ? levels.high : levels.low) * a);
  }
  const float squares = static_cast<float>(num_high) * levels.high * levels.high +
                        static_cast<float>(values.size() - num_high) * levels.low * levels.low;
  const float fitted = weighted.total() / squares;
  const float covering = levels.cover * largest_magnitude(values) / levels.high;
  return usable_scale(round_scale_nearest(fitted > covering ? fitted : covering));
}

}  // namespace thinwire::quant
