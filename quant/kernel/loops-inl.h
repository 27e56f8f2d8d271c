// The vector loops of a format, from the few functions that tell formats apart; the twin of
// quant/codec/reference_loops.h.
//
// struct Rule {
//   static constexpr unsigned kBits;             // of a code: 1, 2, 4 or 8
//   static constexpr std::uint8_t kZeroByte;     // what a block of scale 0 is filled with
//   static float scale_of(float largest);        // of a block, from its largest magnitude
//   static constexpr TwoLevels kFitted;          // optional: to nearest, the scale is a fit to these
//   static Ints nearest(Floats x, const Divisor& scale);     // in [-128, 127]; the low kBits bits count
//   static Ints stochastic(Floats x, const Divisor& scale, Floats draw);
//       or   static Ints drawn(Floats x, const Divisor& scale, Unsigneds draw);   // by fixed_draw
//   static void levels(const std::byte* codes, Floats (&result)[kVectors]);   // of 32 values
//   struct Cells;                                // optional, enclosed-inl.h
// };
#if defined(THINWIRE_KERNEL_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_LOOPS_INL_H_
#undef THINWIRE_KERNEL_LOOPS_INL_H_
#else
#define THINWIRE_KERNEL_LOOPS_INL_H_
#endif

#include <type_traits>

#include "quant/kernel/draws-inl.h"
#include "quant/kernel/enclosed-inl.h"
#include "quant/kernel/scale-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

// The nearest integer, ties to even, for |y| < 2^22: adding 1.5 * 2^23 leaves it in the low bits of the sum.
// Cheaper than a conversion, which Highway guards against values that do not fit.
constexpr float kIntShift = 0x1.8p23f;
HWY_INLINE Ints nearest_int(Floats y) {
  const Floats shift = hn::Set(kFloat, kIntShift);
  return hn::Sub(hn::BitCast(kInt, hn::Add(y, shift)), hn::BitCast(kInt, shift));
}

// Whether draw_unit of quant/codec/stochastic.h is below `fraction`, in [0, 1): (draw + 1/2) / 2^16 <
// fraction, in a form in which nothing rounds that matters. draw: 0..65535.
HWY_INLINE hn::Mask<FloatTag> is_drawn(Floats draw, Floats fraction) {
  return hn::Lt(draw, hn::MulSub(fraction, hn::Set(kFloat, 0x1p16f), hn::Set(kFloat, 0.5f)));
}

// The integer below y, or the one above if the draw says so; |y| < 2^22.
HWY_INLINE Ints round_by_draw(Floats y, Floats draw) {
  const Floats below = hn::Floor(y);
  const auto up = is_drawn(draw, hn::Sub(y, below));
  const Floats shift = hn::Set(kFloat, kIntShift);
  const Floats shifted = hn::Add(below, hn::IfThenElse(up, hn::Set(kFloat, kIntShift + 1), shift));
  return hn::Sub(hn::BitCast(kInt, shifted), hn::BitCast(kInt, shift));
}

// The scale of a block as a divisor.
//
// kReciprocal: the quotient comes without a division, which is slow in wide vectors: from the reciprocal z =
// RN(1/s), q1 = RN(xz) is off by less than 1.5 ulp, one correction makes it faithful, and a second gives
// RN(x/s) itself (Markstein, IBM J. Res. Dev. 34(1), 1990, theorem 8: q faithful, z = RN(1/s), x - qs exact).
// The remainders are exact where nothing underflows: scales from 2^-60 up, and quotients above 2^-30, below
// which all formats code 0. And with scales below 2^60 no value of the block is beyond 2^100.
template <bool kReciprocal>
class Divisor {
 public:
  static constexpr bool kHasReciprocal = kReciprocal;
  static constexpr float kLeast = 0x1p-60f, kEnd = 0x1p60f;

  explicit HWY_INLINE Divisor(float scale)
      : scale_(hn::Set(kFloat, scale)), reciprocal_(hn::Set(kFloat, 1.0f / scale)) {}
  HWY_INLINE Floats scale() const { return scale_; }

  // x / scale, cut off at +-top. top * scale must be exact, as it is for levels of few bits.
  HWY_INLINE Floats cut_quotient(Floats x, float top) const {
    const Floats limit = hn::Mul(scale_, hn::Set(kFloat, top));
    return divide(hn::Max(hn::Min(x, limit), hn::Neg(limit)));
  }

  // x * (1 / scale), two roundings, cut off at +-top.
  HWY_INLINE Floats cut_product(Floats x, float top) const {
    const Floats limit = hn::Set(kFloat, top);
    return hn::Max(hn::Min(hn::Mul(x, reciprocal_), limit), hn::Neg(limit));
  }

  // The same in a block whose largest magnitude has given the scale, except that a quotient may be one
  // rounding above top.
  HWY_INLINE Floats quotient(Floats x, float top) const {
    return kReciprocal ? divide(x) : cut_quotient(x, top);
  }

 private:
  HWY_INLINE Floats divide(Floats x) const {
    if constexpr (!kReciprocal) return hn::Div(x, scale_);
    const Floats q1 = hn::Mul(x, reciprocal_);
    const Floats q2 = hn::MulAdd(hn::NegMulAdd(q1, scale_, x), reciprocal_, q1);
    return hn::MulAdd(hn::NegMulAdd(q2, scale_, x), reciprocal_, q2);
  }

  Floats scale_;
  Floats reciprocal_;
};

template <class Rule>
concept HasDrawn = requires(Floats x, const Divisor<false>& scale, Unsigneds draw) {
  Rule::drawn(x, scale, draw);
};

// The codes of 32 values; first is the offset in the payload of the first.
template <class Rule, Rounding kRounding, class Scale>
HWY_INLINE CodeBytes encode_group(std::uint64_t key, std::uint64_t first, const float* values,
                                  const Scale& scale) {
  Ints codes[kVectors];
  if constexpr (kRounding == Rounding::kNearest) {
    for (std::size_t k = 0; k < kVectors; ++k) {
      codes[k] = Rule::nearest(hn::LoadU(kFloat, values + k * kLanes), scale);
    }
  } else if constexpr (HasDrawn<Rule>) {
    Unsigneds draws[kVectors];
    draw_bits<kFixedBits>(key, first, draws);
    for (std::size_t k = 0; k < kVectors; ++k) {
      codes[k] = Rule::drawn(hn::LoadU(kFloat, values + k * kLanes), scale, draws[k]);
    }
  } else {
    Unsigneds bits[kVectors];
    draw_bits<16>(key, first, bits);
    for (std::size_t k = 0; k < kVectors; ++k) {
      const Floats draw = hn::ConvertTo(kFloat, hn::BitCast(kInt, bits[k]));
      codes[k] = Rule::stochastic(hn::LoadU(kFloat, values + k * kLanes), scale, draw);
    }
  }
  return narrow(codes);
}

// kBlock: kUsualBlock, or 0 for any other.
template <std::size_t kBlock>
HWY_INLINE std::size_t block_of(const BlockRun& run) {
  return kBlock > 0 ? kBlock : run.block;
}

// Whether a rule's scales are least-squares fits when this rounding codes them.
template <class Rule, Rounding kRounding>
constexpr bool kFits = kRounding == Rounding::kNearest&& requires {
  Rule::kFitted;
};

template <class EncodeBlock, class Beside>
HWY_INLINE void put_scale(float scale, std::size_t begin, std::byte*& scales, EncodeBlock& encode_block,
                          Beside& beside) {
  std::memcpy(scales, &scale, sizeof scale);
  scales += sizeof scale;
  encode_block(scale, begin, beside);
}

template <class Beside>
HWY_INLINE void run_beside(std::size_t block, Beside& beside) {
  for (std::size_t i = 0; i < block; i += kVectorGroup) beside.at(i);
}

// Whether a block is coded by enclosed-inl.h, in a loop so short that another beside it is no gain.
template <class Rule, Rounding kRounding, std::size_t kBlock>
constexpr bool kIsEnclosed = (HWY_TARGET <= HWY_AVX3_DL) && (kBlock == kUsualBlock) &&
                             (kRounding == Rounding::kNearest) && HasCells<Rule>;

// Scales that need the largest magnitude only. That of a block is found while an earlier one is coded, in the
// same loop, so that memory is read evenly; and two blocks ahead, so that the scale's latency hides behind
// the block between. Enclosed blocks: just before, one block ahead.
template <class Rule, Rounding kRounding, std::size_t kBlock, class EncodeBlock>
HWY_INLINE void for_each_ranged_block(const BlockRun& run, const float* values, std::byte* scales,
                                      EncodeBlock encode_block) {
  const std::size_t block = block_of<kBlock>(run);
  const std::size_t num_values = run.num_values;  // a copy: the bytes written below might be the run's own
  const auto scale_at = [&](std::size_t begin) HWY_ATTR {
    if (begin >= num_values) return 0.0f;
    LargestBeside largest(values + begin);
    for (std::size_t i = 0; i < block; i += kVectorGroup) {
      ask_with_codes<false>(values + begin + i, largest);
      largest.at(i);
    }
    return Rule::scale_of(largest.result());
  };
  float scale = scale_at(0);
  if constexpr (kIsEnclosed<Rule, kRounding, kBlock>) {
    NothingBeside nothing;
    for (std::size_t begin = 0; begin < num_values; begin += block) {
      const float next = scale_at(begin + block);
      put_scale(scale, begin, scales, encode_block, nothing);
      scale = next;
    }
  } else {
    float next = scale_at(block);
    for (std::size_t begin = 0; begin < num_values; begin += block) {
      const std::size_t ahead = begin + 2 * block;
      LargestBeside largest(values + (ahead < num_values ? ahead : begin));
      put_scale(scale, begin, scales, encode_block, largest);
      scale = next;
      next = Rule::scale_of(largest.result());
    }
  }
}

// Scales that need sums in a fixed order, one or two passes over the values: each is a chain of additions,
// and waits for the one before. Three blocks are under way at once, each in another stage, so that no stage
// waits.
template <class Rule, std::size_t kBlock, class EncodeBlock>
HWY_INLINE void for_each_fitted_block(const BlockRun& run, const float* values, std::byte* scales,
                                      EncodeBlock encode_block) {
  const std::size_t block = block_of<kBlock>(run);
  const std::size_t num_values = run.num_values;
  NothingBeside nothing;
  Fit started = {};
  float fitted = 0;
  for (std::size_t next = 0; next < num_values + 2 * block; next += block) {
    const Fit now_started = next < num_values ? start_fit<false>(values + next, block, Rule::kFitted) : Fit();
    float now_fitted = 0;
    if (next >= block && next < num_values + block)
      now_fitted = scale_of_fit(values + next - block, block, Rule::kFitted, started);
    if (next >= 2 * block) put_scale(fitted, next - 2 * block, scales, encode_block, nothing);
    started = now_started;
    fitted = now_fitted;
  }
}

// encode_block(scale, first value, beside) for every block; it must call beside.at(i) for every group.
template <class Rule, Rounding kRounding, std::size_t kBlock, class EncodeBlock>
HWY_INLINE void for_each_scaled_block(const BlockRun& run, const float* values, std::byte* scales,
                                      EncodeBlock encode_block) {
  if constexpr (kFits<Rule, kRounding>) {
    for_each_fitted_block<Rule, kBlock>(run, values, scales, encode_block);
  } else {
    for_each_ranged_block<Rule, kRounding, kBlock>(run, values, scales, encode_block);
  }
}

// The codes of a block of a scale above 0.
template <class Rule, Rounding kRounding, unsigned kBits, class Scale, class Beside>
HWY_INLINE void encode_scaled(std::size_t block, std::uint64_t key, std::uint64_t first, const float* values,
                              const Scale& scale, std::byte* codes, Beside& beside) {
  for (std::size_t i = 0; i < block; i += kVectorGroup) {
    ask_with_codes<kFits<Rule, kRounding>>(values + i, beside);
    beside.at(i);
    pack<kBits>(encode_group<Rule, kRounding>(key, first + i, values + i, scale), codes + i / 8 * kBits);
  }
}

// Apart, for they are rare.
template <class Rule, Rounding kRounding, unsigned kBits, class Scale>
HWY_NOINLINE void encode_rare(std::size_t block, std::uint64_t key, std::uint64_t first, const float* values,
                              float scale, std::byte* codes) {
  NothingBeside nothing;
  encode_scaled<Rule, kRounding, kBits>(block, key, first, values, Scale(scale), codes, nothing);
}

// With the fastest divisor that the vectors have and the scale allows.
using UsualDivisor = Divisor<HWY_NATIVE_FMA != 0>;
HWY_INLINE bool is_usual(float scale) {
  return !UsualDivisor::kHasReciprocal || (scale >= UsualDivisor::kLeast && scale < UsualDivisor::kEnd);
}

template <class Rule, Rounding kRounding, unsigned kBits, std::size_t kBlock, class Beside>
HWY_INLINE void encode_block_codes(std::size_t block, std::uint64_t key, std::uint64_t first,
                                   const float* values, float scale, std::byte* codes, Beside& beside) {
  if (!is_usual(scale)) {
    run_beside(block, beside);
    encode_rare<Rule, kRounding, kBits, Divisor<false>>(block, key, first, values, scale, codes);
    return;
  }
#if HWY_TARGET <= HWY_AVX3_DL
  if constexpr (kIsEnclosed<Rule, kRounding, kBlock>) {
    if (!encode_enclosed<Rule>(values, scale, codes, beside))
      encode_rare<Rule, kRounding, kBits, UsualDivisor>(block, key, first, values, scale, codes);
    return;
  }
  if constexpr (kBlock == kUsualBlock && kRounding == Rounding::kStochastic && HasDrawn<Rule>) {
    encode_drawn<Rule>(values, scale, key, first, codes, beside);
    return;
  }
#endif
  encode_scaled<Rule, kRounding, kBits>(block, key, first, values, UsualDivisor(scale), codes, beside);
}

template <class Rule, Rounding kRounding, std::size_t kBlock, class Beside>
HWY_INLINE void encode_whole_block(std::size_t block, std::uint64_t key, std::uint64_t first,
                                   const float* values, float scale, std::byte* codes, Beside& beside) {
  if (scale > 0) {
    encode_block_codes<Rule, kRounding, Rule::kBits, kBlock>(block, key, first, values, scale, codes, beside);
  } else {
    run_beside(block, beside);
    std::memset(codes, Rule::kZeroByte, block / 8 * Rule::kBits);
  }
}

template <class Rule, Rounding kRounding, std::size_t kBlock>
HWY_INLINE void encode_rounded(const BlockRun& run, const float* values, std::byte* scales,
                               std::byte* codes) {
  const std::size_t block = block_of<kBlock>(run);
  const std::uint64_t key = run.key, first = run.first;
  CodeWriter writer(codes, run.num_values / 8 * Rule::kBits);
  for_each_scaled_block<Rule, kRounding, kBlock>(
      run, values, scales, [&](float scale, std::size_t begin, auto& beside) HWY_ATTR {
        encode_whole_block<Rule, kRounding, kBlock>(block, key, first + begin, values + begin, scale,
                                                    writer.chunk(), beside);
        writer.end_chunk(block / 8 * Rule::kBits);
      });
  writer.finish();
}

// call(rounding, block) with both as constants.
template <class Call>
HWY_INLINE void with_constants(const BlockRun& run, Call call) {
  using Nearest = std::integral_constant<Rounding, Rounding::kNearest>;
  using Stochastic = std::integral_constant<Rounding, Rounding::kStochastic>;
  using Usual = std::integral_constant<std::size_t, kUsualBlock>;
  using Any = std::integral_constant<std::size_t, 0>;
  if (run.rounding == Rounding::kNearest) {
    run.block == kUsualBlock ? call(Nearest(), Usual()) : call(Nearest(), Any());
  } else {
    run.block == kUsualBlock ? call(Stochastic(), Usual()) : call(Stochastic(), Any());
  }
}

template <class Rule>
void encode_blocks(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes) {
  with_constants(run, [&](auto rounding, auto block) HWY_ATTR {
    encode_rounded<Rule, rounding(), block()>(run, values, scales, codes);
  });
}

template <bool kAdd>
HWY_INLINE void emit(const Floats (&levels)[kVectors], Floats scale, float* values) {
  for (std::size_t k = 0; k < kVectors; ++k) {
    Floats value = hn::Mul(levels[k], scale);
    if constexpr (kAdd) value = hn::Add(hn::LoadU(kFloat, values + k * kLanes), value);
    hn::StoreU(value, kFloat, values + k * kLanes);
  }
}

template <class Rule, bool kAdd, std::size_t kBlock>
HWY_INLINE void decode_run(const BlockRun& run, const std::byte* scales, const std::byte* codes,
                           float* values) {
  const std::size_t block = block_of<kBlock>(run);
  const std::size_t num_values = run.num_values;
  NothingBeside nothing;
  for (std::size_t begin = 0; begin < num_values; begin += block) {
    float scale;
    std::memcpy(&scale, scales, sizeof scale);
    scales += sizeof scale;
    for (std::size_t i = begin; i < begin + block; i += kVectorGroup) {
      if constexpr (kAdd) ask_with_codes<false>(values + i, nothing);
      Floats levels[kVectors];
      Rule::levels(codes, levels);
      emit<kAdd>(levels, hn::Set(kFloat, scale), values + i);
      codes += 4 * Rule::kBits;
    }
  }
}

template <class Rule, bool kAdd>
void decode_blocks(const BlockRun& run, const std::byte* scales, const std::byte* codes, float* values) {
  run.block == kUsualBlock ? decode_run<Rule, kAdd, kUsualBlock>(run, scales, codes, values)
                           : decode_run<Rule, kAdd, 0>(run, scales, codes, values);
}

template <class Rule>
BlockLoops loops_of() {
  return {.encode = &encode_blocks<Rule>,
          .decode = &decode_blocks<Rule, false>,
          .decode_add = &decode_blocks<Rule, true>};
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_LOOPS_INL_H_
