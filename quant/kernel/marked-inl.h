// Blocks of 256 values in AVX-512 whose scale is a two-level fit and whose codes follow from two comparisons
// a value: int2 and ternary, to nearest.
//
// Three blocks are under way in one loop, each in another of the three passes: the magnitudes, their weighted
// sum, the codes. Each pass alone is a chain in which the processor waits; a vector of each in turn fills it.
// A pass uses what the one before left two blocks ago, so that totals and divisions are not waited for
// either.
//
// struct Rule {                       // beside what loops-inl.h asks for
//   struct Marker {
//     explicit Marker(const UsualDivisor& scale);
//     void mark(Floats x, std::size_t i, MarkedBlock& block) const;   // the 16 values from number i on
//   };
//   static constexpr char kLowMask;   // the bits of a code of which any makes its mark low; bit 1: high
//   static void pack_marks(const MarkedBlock& block, std::byte* codes);
// };
#if defined(THINWIRE_KERNEL_MARKED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_MARKED_INL_H_
#undef THINWIRE_KERNEL_MARKED_INL_H_
#else
#define THINWIRE_KERNEL_MARKED_INL_H_
#endif

#include "quant/kernel/loops-inl.h"
#include "quant/kernel/planes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

template <Rounding kRounding, std::size_t kBlock>
constexpr bool kMayMark = HWY_TARGET <= HWY_AVX3&& kRounding == Rounding::kNearest&& kBlock == kUsualBlock;

// Shorter runs end before the three passes are all at work.
HWY_INLINE bool is_marked(const BlockRun& run) {
  return run.num_values >= 16 * kUsualBlock;
}

#if HWY_TARGET <= HWY_AVX3

// The marks of a block whose scale is 0 or too small or large for the usual divisor.
template <class Rule>
HWY_NOINLINE void mark_rare(const float* values, float scale, MarkedBlock& marks) {
  if (scale == 0) return marks.clear();
  std::byte codes[kUsualBlock];
  encode_rare<Rule, Rounding::kNearest, 8, Divisor<false>>(kUsualBlock, 0, 0, values, scale, codes);
  mark_bytes<Rule::kLowMask>(codes, marks);
}

template <class Rule>
HWY_INLINE void encode_marked(const BlockRun& run, std::size_t code_bytes, const float* values,
                              std::byte* scales, std::byte* codes) {
  constexpr std::size_t kBetween = 2, kStages = 2 * kBetween;
  constexpr TwoLevels kLevels = Rule::kFitted;
  const std::size_t count = run.num_values / kUsualBlock;
  CodeWriter writer(codes, count * code_bytes);
  Fit fits[kStages] = {};  // by the block's number
  float fitted[kStages] = {};
  MarkedBlock marks[2];  // packed a block later, for packing reads across the stores that marks are

  for (std::size_t b = 0; b < count + 2 * kBetween + 1; ++b) {
    const std::size_t second = b - kBetween, third = second - kBetween, last = third - 1;
    MagnitudeSums magnitudes;
    const auto sum = [&](std::size_t i) HWY_ATTR {
      const float* from = values + (b * kUsualBlock + i);
      prefetch_line(from);
      magnitudes.add(hn::Abs(hn::LoadU(kFloat, from)));
    };
    WeightedSums weighted;
    const Floats split = fits[second % kStages].split;
    const auto weigh = [&](std::size_t i) HWY_ATTR {
      const float* from = values + (second * kUsualBlock + i);
      weighted.add(hn::Abs(hn::LoadU(kFloat, from)), split, kLevels);
    };
    const float scale = fitted[third % kStages];
    const typename Rule::Marker marker(UsualDivisor(is_usual(scale) ? scale : 1.0f));
    const auto mark = [&](std::size_t i) HWY_ATTR {
      const float* from = values + (third * kUsualBlock + i);
      marker.mark(hn::LoadU(kFloat, from), i, marks[b % 2]);
    };
    // A number below 0 has wrapped round.
    if (b < count && third < count) {
      for (std::size_t i = 0; i < kUsualBlock; i += kLanes) {
        sum(i);
        weigh(i);
        mark(i);
      }
    } else {
      for (std::size_t i = 0; b < count && i < kUsualBlock; i += kLanes) sum(i);
      for (std::size_t i = 0; second < count && i < kUsualBlock; i += kLanes) weigh(i);
      for (std::size_t i = 0; third < count && i < kUsualBlock; i += kLanes) mark(i);
    }

    if (b < count) fits[b % kStages] = magnitudes.fit(kUsualBlock, kLevels);
    if (second < count) {
      Fit& fit = fits[second % kStages];
      weighted.finish(fit);
      if (HWY_UNLIKELY(fit.sums.largest > kLargestMagnitude))
        fit = limited_fit(values + second * kUsualBlock, kUsualBlock, kLevels);
      fitted[second % kStages] = least_squares_scale_of(fit.sums, kLevels);
    }
    if (third < count) {
      if (HWY_UNLIKELY(!is_usual(scale))) mark_rare<Rule>(values + third * kUsualBlock, scale, marks[b % 2]);
      std::memcpy(scales + third * sizeof scale, &scale, sizeof scale);
    }
    if (last < count) {
      Rule::pack_marks(marks[1 - b % 2], writer.chunk());
      writer.end_chunk(code_bytes);
    }
  }
  writer.finish();
}

#else

template <class Rule>
void encode_marked(const BlockRun& run, std::size_t code_bytes, const float* values, std::byte* scales,
                   std::byte* codes);

#endif  // HWY_TARGET <= HWY_AVX3
#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_MARKED_INL_H_
