// The vector loops of a format, from the few functions that tell formats apart; the twin of
// quant/codec/reference_loops.h.
//
// struct Rule {
//   static constexpr unsigned kBits;             // of a code: 1, 2, 4 or 8
//   static constexpr std::uint8_t kZeroByte;     // what a block of scale 0 is filled with
//   static constexpr bool kNearestDivides;       // false: nearest() takes x in place of y = x / scale
//   static float scale(const float* values, std::size_t n, Rounding rounding);
//   static Ints nearest(Floats y);               // codes; the low kBits bits count
//   static Ints stochastic(Floats y, Floats unit);
//   static void levels(const std::byte* codes, Floats (&result)[kVectors]);   // of 32 values
// };
#if defined(THINWIRE_KERNEL_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_LOOPS_INL_H_
#undef THINWIRE_KERNEL_LOOPS_INL_H_
#else
#define THINWIRE_KERNEL_LOOPS_INL_H_
#endif

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
  h = hn::Xor(hn::Xor(h, hn::ShiftRight<15>(h)), hn::Set(kUnsigned, static_cast<std::uint32_t>(key >> 32)));
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

HWY_INLINE Floats draw_unit(Unsigneds bits) {
  const Floats number = hn::ConvertTo(kFloat, hn::BitCast(kInt, bits));
  return hn::Mul(hn::Add(number, hn::Set(kFloat, 0.5f)), hn::Set(kFloat, 0x1p-16f));
}

// The nearest integer, ties to even, for |y| < 2^22: adding 1.5 * 2^23 leaves it in the low bits of the sum.
// Cheaper than a conversion, which Highway guards against values that do not fit.
HWY_INLINE Ints nearest_int(Floats y) {
  const Floats shift = hn::Set(kFloat, 0x1.8p23f);
  return hn::Sub(hn::BitCast(kInt, hn::Add(y, shift)), hn::BitCast(kInt, shift));
}

// The integer below y, or the one above if the draw says so; |y| < 2^22.
HWY_INLINE Ints round_by_draw(Floats y, Floats unit) {
  const Floats below = hn::Floor(y);
  const auto up = hn::Lt(unit, hn::Sub(y, below));
  return hn::Sub(nearest_int(below), hn::VecFromMask(kInt, hn::RebindMask(kInt, up)));
}

HWY_INLINE Floats clamp(Floats y, float top) {
  return hn::Max(hn::Min(y, hn::Set(kFloat, top)), hn::Set(kFloat, -top));
}

// The codes of 32 values; first is the offset in the payload of the first.
template <class Rule, Rounding kRounding>
HWY_INLINE GroupBytes encode_group(std::uint64_t key, std::uint64_t first, const float* values,
                                   Floats scale) {
  Ints codes[kVectors];
  if constexpr (kRounding == Rounding::kNearest) {
    for (std::size_t k = 0; k < kVectors; ++k) {
      const Floats x = hn::LoadU(kFloat, values + k * kLanes);
      codes[k] = Rule::nearest(Rule::kNearestDivides ? hn::Div(x, scale) : x);
    }
  } else {
    Unsigneds bits[kVectors];
    draw_bits(key, first, bits);
    for (std::size_t k = 0; k < kVectors; ++k) {
      const Floats y = hn::Div(hn::LoadU(kFloat, values + k * kLanes), scale);
      codes[k] = Rule::stochastic(y, draw_unit(bits[k]));
    }
  }
  return narrow(codes);
}

// begin_block(scale, first value) for every block. The next block's scale is computed before the codes of
// this one: it depends on nothing here, so that its latency hides behind them.
template <class Rule, Rounding kRounding, class EncodeBlock>
HWY_INLINE void for_each_scaled_block(const BlockRun& run, const float* values, std::byte* scales,
                                      EncodeBlock encode_block) {
  float scale = Rule::scale(values, run.block, kRounding);
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    const std::size_t next = begin + run.block;
    const float next_scale = next < run.num_values ? Rule::scale(values + next, run.block, kRounding) : 0.0f;
    std::memcpy(scales, &scale, sizeof scale);
    scales += sizeof scale;
    encode_block(scale, begin);
    scale = next_scale;
  }
}

template <class Rule, Rounding kRounding>
HWY_INLINE void encode_rounded(const BlockRun& run, const float* values, std::byte* scales,
                               std::byte* codes) {
  constexpr std::size_t kGroupBytes = 4 * Rule::kBits;
  for_each_scaled_block<Rule, kRounding>(run, values, scales, [&](float scale, std::size_t begin) HWY_ATTR {
    if (scale > 0) {
      const Floats divisor = hn::Set(kFloat, scale);
      for (std::size_t i = begin; i < begin + run.block; i += kVectorGroup) {
        pack<Rule::kBits>(encode_group<Rule, kRounding>(run.key, run.first + i, values + i, divisor), codes);
        codes += kGroupBytes;
      }
    } else {
      const std::size_t code_bytes = run.block / kVectorGroup * kGroupBytes;
      std::memset(codes, Rule::kZeroByte, code_bytes);
      codes += code_bytes;
    }
  });
}

template <class Rule>
void encode_blocks(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes) {
  if (run.rounding == Rounding::kNearest) {
    encode_rounded<Rule, Rounding::kNearest>(run, values, scales, codes);
  } else {
    encode_rounded<Rule, Rounding::kStochastic>(run, values, scales, codes);
  }
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
