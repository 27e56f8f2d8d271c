// The scale of one block in vectors: equal to quant/codec/block_scale.h bit by bit.
#if defined(THINWIRE_KERNEL_SCALE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_SCALE_INL_H_
#undef THINWIRE_KERNEL_SCALE_INL_H_
#else
#define THINWIRE_KERNEL_SCALE_INL_H_
#endif

#include "quant/codec/block_scale.h"
#include "quant/kernel/group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

// n: a positive multiple of 32, as in all functions here.
HWY_INLINE float largest_magnitude(const float* values, std::size_t n) {
  Floats largest[kVectors];
  for (std::size_t k = 0; k < kVectors; ++k) largest[k] = hn::Abs(hn::LoadU(kFloat, values + k * kLanes));
  for (std::size_t i = kVectorGroup; i < n; i += kVectorGroup) {
    for (std::size_t k = 0; k < kVectors; ++k) {
      largest[k] = hn::Max(largest[k], hn::Abs(hn::LoadU(kFloat, values + i + k * kLanes)));
    }
  }
  for (std::size_t k = 1; k < kVectors; ++k) largest[0] = hn::Max(largest[0], largest[k]);
  return hn::GetLane(hn::MaxOfLanes(kFloat, largest[0]));
}

// The 16 partial sums of block_scale.h, as vectors.
struct SumVectors {
  static constexpr std::size_t kCount = kSumLanes / kLanes;
  Floats lanes[kCount];

  HWY_INLINE SumVectors() {
    for (Floats& lane : lanes) lane = hn::Zero(kFloat);
  }
  // lane_total of block_scale.h.
  HWY_INLINE float total() const {
    Floats sums[kCount];
    for (std::size_t k = 0; k < kCount; ++k) sums[k] = lanes[k];
    for (std::size_t apart = kCount / 2; apart > 0; apart /= 2) {
      for (std::size_t k = 0; k < apart; ++k) sums[k] = hn::Add(sums[k], sums[k + apart]);
    }
    return total_of_lanes(kFloat, sums[0]);
  }

 private:
  template <class Tag>
  static HWY_INLINE float total_of_lanes(Tag d, hn::Vec<Tag> v) {
    if constexpr (hn::MaxLanes(d) > 4) {
      const hn::Half<Tag> half;
      return total_of_lanes(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
    } else {
      const auto two = hn::Add(v, hn::Shuffle1032(v));
      return hn::GetLane(hn::Add(two, hn::Shuffle2301(two)));
    }
  }
};

HWY_INLINE Floats limited_magnitude(const float* values) {
  return hn::Min(hn::Abs(hn::LoadU(kFloat, values)), hn::Set(kFloat, kLargestMagnitude));
}

HWY_INLINE float least_squares_scale(const float* values, std::size_t n, const TwoLevels& levels) {
  SumVectors magnitudes;
  Floats largest = hn::Zero(kFloat);
  for (std::size_t i = 0; i < n; i += kSumLanes) {
    for (std::size_t k = 0; k < SumVectors::kCount; ++k) {
      const Floats a = limited_magnitude(values + i + k * kLanes);
      magnitudes.lanes[k] = hn::Add(magnitudes.lanes[k], a);
      largest = hn::Max(largest, a);
    }
  }
  BlockSums sums{.num_values = n, .largest = hn::GetLane(hn::MaxOfLanes(kFloat, largest))};
  const float total = magnitudes.total();
  if (levels.low == levels.high) {  // the weighted sum is the same sum: every weight is 1
    sums.num_high = n;
    sums.weighted = total;
    return least_squares_scale_of(sums, levels);
  }

  const Floats split = hn::Set(kFloat, levels.split * (total / static_cast<float>(n)));
  const Floats low = hn::Set(kFloat, levels.low);
  const Floats high = hn::Set(kFloat, levels.high);
  SumVectors weighted;
  Ints minus_num_high = hn::Zero(kInt);
  for (std::size_t i = 0; i < n; i += kSumLanes) {
    for (std::size_t k = 0; k < SumVectors::kCount; ++k) {
      const Floats a = limited_magnitude(values + i + k * kLanes);
      const auto is_high = hn::Gt(a, split);
      minus_num_high = hn::Add(minus_num_high, hn::VecFromMask(kInt, hn::RebindMask(kInt, is_high)));
      weighted.lanes[k] = hn::Add(weighted.lanes[k], hn::Mul(hn::IfThenElse(is_high, high, low), a));
    }
  }
  sums.num_high = static_cast<std::size_t>(-hn::GetLane(hn::SumOfLanes(kInt, minus_num_high)));
  sums.weighted = weighted.total();
  return least_squares_scale_of(sums, levels);
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_SCALE_INL_H_
