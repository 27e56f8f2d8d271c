// The vector loops of a format, from the few functions that tell formats apart; the twin of
// quant/codec/reference_loops.h.
//
// struct Rule {
//   static constexpr unsigned kBits;             // of a code: 1, 2, 4 or 8
//   static constexpr std::uint8_t kZeroByte;     // what a block of scale 0 is filled with
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
  const auto counter = static_cast<std::uint32_t>(first / 2);
  for (std::size_t k = 0; k < kVectors / 2; ++k) {
    const auto begin = counter + static_cast<std::uint32_t>(k * kLanes);
    const Unsigneds h = draw_hashes(key, hn::Iota(kUnsigned, begin));
    bits[k] = hn::And(h, hn::Set(kUnsigned, 0xffffu));
    bits[k + kVectors / 2] = hn::ShiftRight<16>(h);
  }
}

HWY_INLINE Floats draw_unit(Unsigneds bits) {
  const Floats number = hn::ConvertTo(kFloat, hn::BitCast(kInt, bits));
  return hn::Mul(hn::Add(number, hn::Set(kFloat, 0.5f)), hn::Set(kFloat, 0x1p-16f));
}

// The integer below y, or the one above if the draw says so.
HWY_INLINE Ints round_by_draw(Floats y, Floats unit) {
  const Floats below = hn::Floor(y);
  const auto up = hn::Lt(unit, hn::Sub(y, below));
  return hn::ConvertTo(kInt, hn::Add(below, hn::IfThenElseZero(up, hn::Set(kFloat, 1.0f))));
}

HWY_INLINE Floats clamp(Floats y, float top) {
  return hn::Max(hn::Min(y, hn::Set(kFloat, top)), hn::Set(kFloat, -top));
}

// The codes of 32 values; first is the offset in the payload of the first.
template <class Rule>
HWY_INLINE GroupBytes encode_group(const BlockRun& run, std::uint64_t first, const float* values,
                                   Floats scale) {
  Ints codes[kVectors];
  if (run.rounding == Rounding::kNearest) {
    for (std::size_t k = 0; k < kVectors; ++k) {
      codes[k] = Rule::nearest(hn::Div(hn::LoadU(kFloat, values + k * kLanes), scale));
    }
  } else {
    Unsigneds bits[kVectors];
    draw_bits(run.key, first, bits);
    for (std::size_t k = 0; k < kVectors; ++k) {
      const Floats y = hn::Div(hn::LoadU(kFloat, values + k * kLanes), scale);
      codes[k] = Rule::stochastic(y, draw_unit(bits[k]));
    }
  }
  return narrow(codes);
}

template <class Rule>
void encode_blocks(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes) {
  constexpr std::size_t kGroupBytes = 4 * Rule::kBits;
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    const float scale = Rule::scale(values + begin, run.block, run.rounding);
    std::memcpy(scales, &scale, sizeof scale);
    scales += sizeof scale;
    const Floats divisor = hn::Set(kFloat, scale);
    for (std::size_t i = begin; i < begin + run.block; i += kVectorGroup) {
      if (scale > 0) {
        pack<Rule::kBits>(encode_group<Rule>(run, run.first + i, values + i, divisor), codes);
      } else {
        std::memset(codes, Rule::kZeroByte, kGroupBytes);
      }
      codes += kGroupBytes;
    }
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
