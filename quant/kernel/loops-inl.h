// The vector loops of a format, from the few functions that tell formats apart; the twin of
// quant/codec/reference_loops.h.
//
// struct Rule {
//   static constexpr unsigned kBits;             // of a code: 1, 2, 4 or 8
//   static constexpr std::uint8_t kZeroByte;     // what a block of scale 0 is filled with
//   static void scales(const float* values, std::size_t n, Rounding rounding, float (&scales)[kCount]);
//                                                // of kCount consecutive blocks of n values; a template
//   static Ints nearest(Floats x, const Divisor& scale);     // in [-128, 127]; the low kBits bits count
//   static Ints stochastic(Floats x, const Divisor& scale, Floats draw);
//   static void levels(const std::byte* codes, Floats (&result)[kVectors]);   // of 32 values
// };
#if defined(THINWIRE_KERNEL_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_LOOPS_INL_H_
#undef THINWIRE_KERNEL_LOOPS_INL_H_
#else
#define THINWIRE_KERNEL_LOOPS_INL_H_
#endif

#include <type_traits>

#include "quant/kernel/group-inl.h"
#include "quant/kernel/scale-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

// draw_hash of quant/codec/stochastic.h for consecutive counters.
HWY_INLINE Unsigneds draw_hashes(std::uint64_t key, Unsigneds counters) {
  Unsigneds h = hn::Xor(counters, hn::Set(kUnsigned, static_cast<std::uint32_t>(key)));
  h = hn::Xor(h, hn::ShiftRight<16>(h));
  h = hn::Mul(h, hn::Set(kUnsigned, 0x7feb352du));
  h = hn::Xor3(h, hn::ShiftRight<15>(h), hn::Set(kUnsigned, static_cast<std::uint32_t>(key >> 32)));
  h = hn::Mul(h, hn::Set(kUnsigned, 0x846ca68bu));
  return hn::Xor(h, hn::ShiftRight<16>(h));
}

// draw_bits of the 32 values from `first` on, a multiple of 32.
HWY_INLINE void draw_bits(std::uint64_t key, std::uint64_t first, Unsigneds (&bits)[kVectors]) {
  const Unsigneds begin = hn::Set(kUnsigned, static_cast<std::uint32_t>(first / 2));
  for (std::size_t k = 0; k < kVectors / 2; ++k) {
    const Unsigneds lane = hn::Iota(kUnsigned, static_cast<std::uint32_t>(k * kLanes));
    const Unsigneds h = draw_hashes(key, hn::Add(begin, lane));
    bits[k] = hn::And(h, hn::Set(kUnsigned, 0xffffu));
    bits[k + kVectors / 2] = hn::ShiftRight<16>(h);
  }
}

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

  explicit HWY_INLINE Divisor(float scale) : scale_(hn::Set(kFloat, scale)) {
    if constexpr (kReciprocal) reciprocal_ = hn::Set(kFloat, 1.0f / scale);
  }
  HWY_INLINE Floats scale() const { return scale_; }

  // x / scale, cut off at +-top. top * scale must be exact, as it is for levels of few bits.
  HWY_INLINE Floats cut_quotient(Floats x, float top) const {
    const Floats limit = hn::Mul(scale_, hn::Set(kFloat, top));
    return divide(hn::Max(hn::Min(x, limit), hn::Neg(limit)));
  }

  // The same in a block whose largest magnitude has given the scale, but that a quotient may be one rounding
  // above top.
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
  Floats reciprocal_ = hn::Zero(kFloat);
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
  } else {
    Unsigneds bits[kVectors];
    draw_bits(key, first, bits);
    for (std::size_t k = 0; k < kVectors; ++k) {
      const Floats draw = hn::ConvertTo(kFloat, hn::BitCast(kInt, bits[k]));
      codes[k] = Rule::stochastic(hn::LoadU(kFloat, values + k * kLanes), scale, draw);
    }
  }
  return narrow(codes);
}

// The block that nearly all runs have; its loops are compiled apart, with known bounds. 0 stands for any
// other.
constexpr std::size_t kUsualBlock = 256;

template <std::size_t kBlock>
HWY_INLINE std::size_t block_of(const BlockRun& run) {
  return kBlock > 0 ? kBlock : run.block;
}

// encode_block(scale, first value) for every block. Blocks go in fours, and the next four's scales are
// computed before the codes of these: they depend on nothing here, so that the latency of their sums hides
// behind the codes, and that of each behind the others'.
template <class Rule, Rounding kRounding, std::size_t kBlock, class EncodeBlock>
HWY_INLINE void for_each_scaled_block(const BlockRun& run, const float* values, std::byte* scales,
                                      EncodeBlock encode_block) {
  constexpr std::size_t kTogether = 4;
  const std::size_t block = block_of<kBlock>(run);
  const std::size_t num_values = run.num_values;  // a copy: the bytes written below might be the run's own
  const std::size_t step = kTogether * block;
  const std::size_t in_fours = num_values / step * step;
  float four[kTogether];
  for (std::size_t next = 0; next <= in_fours; next += step) {
    float next_four[kTogether] = {};
    if (next < in_fours) Rule::scales(values + next, block, kRounding, next_four);
    if (next > 0) {
      std::memcpy(scales, four, sizeof four);
      scales += sizeof four;
      for (std::size_t j = 0; j < kTogether; ++j) encode_block(four[j], next - step + j * block);
    }
    std::memcpy(four, next_four, sizeof four);
  }
  for (std::size_t begin = in_fours; begin < num_values; begin += block) {
    float one[1];
    Rule::scales(values + begin, block, kRounding, one);
    std::memcpy(scales, one, sizeof one);
    scales += sizeof one;
    encode_block(one[0], begin);
  }
}

// The codes of a block of a scale above 0.
template <class Rule, Rounding kRounding, unsigned kBits, class Scale>
HWY_INLINE void encode_scaled(std::size_t block, std::uint64_t key, std::uint64_t first, const float* values,
                              const Scale& scale, std::byte* codes) {
  for (std::size_t i = 0; i < block; i += kVectorGroup) {
    prefetch_group(values + i);
    pack<kBits>(encode_group<Rule, kRounding>(key, first + i, values + i, scale), codes + i / 8 * kBits);
  }
}

// Apart, for it is rare: where the vectors have a fused multiply-add, but the scale is not a usual one.
template <class Rule, Rounding kRounding, unsigned kBits>
HWY_NOINLINE void encode_by_division(std::size_t block, std::uint64_t key, std::uint64_t first,
                                     const float* values, float scale, std::byte* codes) {
  encode_scaled<Rule, kRounding, kBits>(block, key, first, values, Divisor<false>(scale), codes);
}

template <class Rule, Rounding kRounding, unsigned kBits>
HWY_INLINE void encode_block_codes(std::size_t block, std::uint64_t key, std::uint64_t first,
                                   const float* values, float scale, std::byte* codes) {
  using Usual = Divisor<HWY_NATIVE_FMA != 0>;
  if (!Usual::kHasReciprocal || (scale >= Usual::kLeast && scale < Usual::kEnd)) {
    encode_scaled<Rule, kRounding, kBits>(block, key, first, values, Usual(scale), codes);
  } else {
    encode_by_division<Rule, kRounding, kBits>(block, key, first, values, scale, codes);
  }
}

template <class Rule, Rounding kRounding, std::size_t kBlock>
HWY_INLINE void encode_rounded(const BlockRun& run, const float* values, std::byte* scales,
                               std::byte* codes) {
  const std::size_t block = block_of<kBlock>(run);
  const std::size_t code_bytes = block / 8 * Rule::kBits;
  const std::uint64_t key = run.key, first = run.first;
  CodeWriter writer(codes, run.num_values / 8 * Rule::kBits);
  for_each_scaled_block<Rule, kRounding, kBlock>(
      run, values, scales, [&](float scale, std::size_t begin) HWY_ATTR {
        std::byte* out = writer.chunk();
        if (scale > 0) {
          encode_block_codes<Rule, kRounding, Rule::kBits>(block, key, first + begin, values + begin, scale,
                                                           out);
        } else {
          std::memset(out, Rule::kZeroByte, code_bytes);
        }
        writer.end_chunk(code_bytes);
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

template <class Rule, bool kAdd>
void decode_blocks(const BlockRun& run, const std::byte* scales, const std::byte* codes, float* values) {
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    float scale;
    std::memcpy(&scale, scales, sizeof scale);
    scales += sizeof scale;
    for (std::size_t i = begin; i < begin + run.block; i += kVectorGroup) {
      Floats levels[kVectors];
      Rule::levels(codes, levels);
      emit<kAdd>(levels, hn::Set(kFloat, scale), values + i);
      codes += 4 * Rule::kBits;
    }
  }
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
