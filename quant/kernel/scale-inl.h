// The scale of one block in vectors: equal to quant/codec/block_scale.h bit by bit.
#if defined(THINWIRE_KERNEL_SCALE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_SCALE_INL_H_
#undef THINWIRE_KERNEL_SCALE_INL_H_
#else
#define THINWIRE_KERNEL_SCALE_INL_H_
#endif

#include "quant/codec/block_scale.h"
#include "quant/kernel/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

// max(a, |x|), a >= 0
HWY_INLINE Floats larger_magnitude(Floats a, Floats x) {
#if HWY_TARGET <= HWY_AVX3
  return Floats{_mm512_range_ps(a.raw, x.raw, 0xb)};  // the greater magnitude, without sign
#else
  return hn::Max(a, hn::Abs(x));
#endif
}

// n: a positive multiple of 32, as in all functions here.
HWY_INLINE float largest_magnitude(const float* values, std::size_t n) {
  Floats largest[kVectors];
  for (std::size_t k = 0; k < kVectors; ++k) largest[k] = hn::Abs(hn::LoadU(kFloat, values + k * kLanes));
  for (std::size_t i = kVectorGroup; i < n; i += kVectorGroup) {
    for (std::size_t k = 0; k < kVectors; ++k) {
      largest[k] = larger_magnitude(largest[k], hn::LoadU(kFloat, values + i + k * kLanes));
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

// scale_of(max|x|) of each of kCount consecutive blocks.
template <std::size_t kCount, class ScaleOf>
HWY_INLINE void range_scales(const float* values, std::size_t n, float (&scales)[kCount], ScaleOf scale_of) {
  for (std::size_t j = 0; j < kCount; ++j) scales[j] = scale_of(largest_magnitude(values + j * n, n));
}

// sum + weight * a, two roundings; the weight is levels.high where is_high, else levels.low.
HWY_INLINE Floats add_weighted(Floats sum, Floats a, hn::Mask<FloatTag> is_high, const TwoLevels& levels) {
  if (levels.low == 0 && levels.high == 1) {
#if HWY_TARGET <= HWY_AVX3
    return Floats{_mm512_mask_add_ps(sum.raw, is_high.raw, sum.raw, a.raw)};
#else
    return hn::Add(sum, hn::IfThenElseZero(is_high, a));
#endif
  }
#if HWY_TARGET <= HWY_AVX3
  if (levels.low == 1) {
    const Floats high = hn::Set(kFloat, levels.high);
    return hn::Add(sum, Floats{_mm512_mask_mul_ps(a.raw, is_high.raw, a.raw, high.raw)});
  }
#endif
  const Floats weight = hn::IfThenElse(is_high, hn::Set(kFloat, levels.high), hn::Set(kFloat, levels.low));
  return hn::Add(sum, hn::Mul(weight, a));
}

template <bool kLimited>
HWY_INLINE Floats magnitude(const float* value) {
  const Floats a = hn::Abs(hn::LoadU(kFloat, value));
  return kLimited ? hn::Min(a, hn::Set(kFloat, kLargestMagnitude)) : a;
}

// The sums of kCount consecutive blocks, step by step together: each is one chain of additions in a fixed
// order. kLimited: whether a magnitude may be beyond kLargestMagnitude.
template <bool kLimited, std::size_t kCount>
HWY_INLINE void sum_blocks(const float* values, std::size_t n, const TwoLevels& levels,
                           BlockSums (&sums)[kCount]) {
  const bool two_passes = levels.low != levels.high;
  SumVectors magnitudes[kCount];
  Floats largest[kCount];
  for (Floats& one : largest) one = hn::Zero(kFloat);
  for (std::size_t i = 0; i < n; i += kSumLanes) {
    for (std::size_t j = 0; j < kCount; ++j) {
      prefetch_with_sums(values + j * n, i, 0, two_passes);
      for (std::size_t k = 0; k < SumVectors::kCount; ++k) {
        const Floats a = magnitude<kLimited>(values + j * n + i + k * kLanes);
        magnitudes[j].lanes[k] = hn::Add(magnitudes[j].lanes[k], a);
        largest[j] = hn::Max(largest[j], a);
      }
    }
  }
  Floats split[kCount];
  for (std::size_t j = 0; j < kCount; ++j) {
    const float total = magnitudes[j].total();
    sums[j] = {.num_values = n, .weighted = total};
    sums[j].largest = hn::GetLane(hn::MaxOfLanes(kFloat, largest[j]));
    split[j] = hn::Set(kFloat, levels.split * (total / static_cast<float>(n)));
  }
  if (!two_passes) {  // the weighted sum is the same sum: every weight is 1
    for (BlockSums& one : sums) one.num_high = n;
    return;
  }

  SumVectors weighted[kCount];
  for (std::size_t i = 0; i < n; i += kSumLanes) {
    for (std::size_t j = 0; j < kCount; ++j) {
      prefetch_with_sums(values + j * n, i, 1, two_passes);
      for (std::size_t k = 0; k < SumVectors::kCount; ++k) {
        const Floats a = magnitude<kLimited>(values + j * n + i + k * kLanes);
        const auto is_high = hn::Gt(a, split[j]);
        weighted[j].lanes[k] = add_weighted(weighted[j].lanes[k], a, is_high, levels);
        sums[j].num_high += hn::CountTrue(kFloat, is_high);
      }
    }
  }
  for (std::size_t j = 0; j < kCount; ++j) sums[j].weighted = weighted[j].total();
}

template <std::size_t kCount>
HWY_INLINE void least_squares_scales(const float* values, std::size_t n, const TwoLevels& levels,
                                     float (&scales)[kCount]) {
  BlockSums sums[kCount];
  sum_blocks<false>(values, n, levels, sums);
  bool beyond = false;
  for (const BlockSums& one : sums) beyond |= one.largest > kLargestMagnitude;
  if (beyond) sum_blocks<true>(values, n, levels, sums);
  for (std::size_t j = 0; j < kCount; ++j) scales[j] = least_squares_scale_of(sums[j], levels);
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_SCALE_INL_H_
