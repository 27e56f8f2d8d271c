// The draws of stochastic rounding in vectors: those of quant/codec/stochastic.h.
#if defined(THINWIRE_KERNEL_DRAWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_DRAWS_INL_H_
#undef THINWIRE_KERNEL_DRAWS_INL_H_
#else
#define THINWIRE_KERNEL_DRAWS_INL_H_
#endif

#include <bit>

#include "quant/codec/stochastic.h"
#include "quant/kernel/group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

// draw_hash for consecutive counters.
HWY_INLINE Unsigneds draw_hashes(std::uint64_t key, Unsigneds counters) {
  Unsigneds h = hn::Xor(counters, hn::Set(kUnsigned, static_cast<std::uint32_t>(key)));
  h = hn::Xor(h, hn::ShiftRight<16>(h));
  h = hn::Mul(h, hn::Set(kUnsigned, 0x7feb352du));
  h = hn::Xor3(h, hn::ShiftRight<15>(h), hn::Set(kUnsigned, static_cast<std::uint32_t>(key >> 32)));
  h = hn::Mul(h, hn::Set(kUnsigned, 0x846ca68bu));
  return hn::Xor(h, hn::ShiftRight<16>(h));
}

// The lowest and the highest kBits bits (at most 16) of the hashes for the 32 values from `first` on, a
// multiple of 32: draw_bits of quant/codec/stochastic.h for 16 bits, fixed_draw for 15.
template <unsigned kBits>
HWY_INLINE void draw_bits(std::uint64_t key, std::uint64_t first, Unsigneds (&bits)[kVectors]) {
  const Unsigneds begin = hn::Set(kUnsigned, static_cast<std::uint32_t>(first / 2));
  for (std::size_t k = 0; k < kVectors / 2; ++k) {
    const Unsigneds lane = hn::Iota(kUnsigned, static_cast<std::uint32_t>(k * kLanes));
    const Unsigneds h = draw_hashes(key, hn::Add(begin, lane));
    bits[k] = hn::And(h, hn::Set(kUnsigned, (1u << kBits) - 1));
    bits[k + kVectors / 2] = hn::ShiftRight<32 - kBits>(h);
  }
}

// Adding this to a y of magnitude at most 127 leaves y * 2^kFixedBits, rounded to nearest with ties to even,
// in the low bits of the sum.
constexpr float kFixedShift = 0x1.8p8f;
static_assert(kFixedBits == 15);

// y + draw / 2^kFixedBits, cut down to an integer.
HWY_INLINE Ints add_fixed_draw(Floats y, Unsigneds draw) {
  constexpr std::int32_t kShiftBits = std::bit_cast<std::int32_t>(kFixedShift) >> kFixedBits;
  const Ints fixed = hn::BitCast(kInt, hn::Add(y, hn::Set(kFloat, kFixedShift)));
  return hn::Sub(hn::ShiftRight<kFixedBits>(hn::Add(fixed, hn::BitCast(kInt, draw))),
                 hn::Set(kInt, kShiftBits));
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_DRAWS_INL_H_
