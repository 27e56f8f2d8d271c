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

// The largest of magnitudes.
class Largest {
 public:
  HWY_INLINE Largest() {
    for (Floats& one : largest_) one = hn::Zero(kFloat);
  }
  // k < kVectors: several may be found at once.
  HWY_INLINE void add(std::size_t k, Floats x) { largest_[k] = larger_magnitude(largest_[k], x); }
  HWY_INLINE float result() const {
    Floats largest = largest_[0];
    for (std::size_t k = 1; k < kVectors; ++k) largest = hn::Max(largest, largest_[k]);
    return hn::GetLane(hn::MaxOfLanes(kFloat, largest));
  }

 private:
  Floats largest_[kVectors];
};

// What runs beside the coding of a block, in the same loop: at(i) handles group i of another block, and
// ask_for(values) is called for every line of values that is coded.

// The largest magnitude of a block.
class LargestBeside {
 public:
  explicit HWY_INLINE LargestBeside(const float* values) : values_(values) {}
  HWY_INLINE void at(std::size_t i) {
    for (std::size_t k = 0; k < kVectors; ++k) largest_.add(k, hn::LoadU(kFloat, values_ + i + k * kLanes));
  }
  static HWY_INLINE void ask_for(const float* values) { prefetch_line(values); }
  HWY_INLINE float result() const { return largest_.result(); }

 private:
  const float* values_;
  Largest largest_;
};

// For loops that have nothing else to do.
struct NothingBeside {
  HWY_INLINE void at(std::size_t) {}
  static HWY_INLINE void ask_for(const float* values) { prefetch_line(values); }
};

HWY_INLINE constexpr bool has_two_passes(const TwoLevels& levels) {
  return levels.low != levels.high;
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

// The least-squares scale of a block on its way: the first pass over the values is done, of two if the levels
// differ.
struct Fit {
  BlockSums sums;
  Floats split;
};

// The first pass. add() takes the magnitudes in order; k: which of the partial sums of one step.
struct MagnitudeSums {
  SumVectors magnitudes;
  Floats largest;

  HWY_INLINE MagnitudeSums() : largest(hn::Zero(kFloat)) {}
  HWY_INLINE void add(Floats a, std::size_t k = 0) {
    magnitudes.lanes[k] = hn::Add(magnitudes.lanes[k], a);
    largest = hn::Max(largest, a);
  }
  HWY_INLINE Fit fit(std::size_t n, const TwoLevels& levels) const {
    const float total = magnitudes.total();
    // The weighted sum of a single pass is the same sum: every weight is 1.
    return {.sums = {.num_values = n,
                     .num_high = has_two_passes(levels) ? 0 : n,
                     .weighted = total,
                     .largest = hn::GetLane(hn::MaxOfLanes(kFloat, largest))},
            .split = hn::Set(kFloat, levels.split * (total / static_cast<float>(n)))};
  }
};

// The second pass.
struct WeightedSums {
  SumVectors weighted;
  std::size_t num_high = 0;

  HWY_INLINE WeightedSums() {}
  HWY_INLINE void add(Floats a, Floats split, const TwoLevels& levels, std::size_t k = 0) {
    const auto is_high = hn::Gt(a, split);
    weighted.lanes[k] = add_weighted(weighted.lanes[k], a, is_high, levels);
    num_high += hn::CountTrue(kFloat, is_high);
  }
  HWY_INLINE void finish(Fit& fit) const {
    fit.sums.weighted = weighted.total();
    fit.sums.num_high = num_high;
  }
};

// kLimited: whether a magnitude may be beyond kLargestMagnitude.
template <bool kLimited>
HWY_INLINE Fit start_fit(const float* values, std::size_t n, const TwoLevels& levels) {
  MagnitudeSums sums;
  for (std::size_t i = 0; i < n; i += kSumLanes) {
    prefetch_with_sums(values, i, 0, has_two_passes(levels));
    for (std::size_t k = 0; k < SumVectors::kCount; ++k)
      sums.add(magnitude<kLimited>(values + i + k * kLanes), k);
  }
  return sums.fit(n, levels);
}

template <bool kLimited>
HWY_INLINE void finish_fit(const float* values, std::size_t n, const TwoLevels& levels, Fit& fit) {
  if (!has_two_passes(levels)) return;
  WeightedSums sums;
  for (std::size_t i = 0; i < n; i += kSumLanes) {
    prefetch_with_sums(values, i, 1, true);
    for (std::size_t k = 0; k < SumVectors::kCount; ++k)
      sums.add(magnitude<kLimited>(values + i + k * kLanes), fit.split, levels, k);
  }
  sums.finish(fit);
}

// Both passes, for a block that is known to need limits.
HWY_INLINE Fit limited_fit(const float* values, std::size_t n, const TwoLevels& levels) {
  Fit fit = start_fit<true>(values, n, levels);
  finish_fit<true>(values, n, levels, fit);
  return fit;
}

HWY_INLINE float scale_of_fit(const float* values, std::size_t n, const TwoLevels& levels, Fit fit) {
  if (HWY_UNLIKELY(fit.sums.largest > kLargestMagnitude)) {
    fit = limited_fit(values, n, levels);
  } else {
    finish_fit<false>(values, n, levels, fit);
  }
  return least_squares_scale_of(fit.sums, levels);
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_SCALE_INL_H_
