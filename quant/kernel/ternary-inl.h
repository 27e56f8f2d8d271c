// Loops of the ternary format, whose blocks are packed in planes (quant/codec/packing.h).
//
// struct Rule { scale, nearest, stochastic as in loops-inl.h; the codes are the digits 0, 1, 2. };
#if defined(THINWIRE_KERNEL_TERNARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_TERNARY_INL_H_
#undef THINWIRE_KERNEL_TERNARY_INL_H_
#else
#define THINWIRE_KERNEL_TERNARY_INL_H_
#endif

#include <algorithm>

#include "quant/codec/packing.h"
#include "quant/kernel/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

constexpr std::size_t kByteLanes = 16;
constexpr std::size_t kDigitsPerByte = 5;

// One byte a value of a block, and room for the last vector of the last plane to reach past it.
struct TernaryBlock {
  alignas(16) std::uint8_t digits[kMaxVectorBlock + 2 * kVectorGroup];
};

HWY_INLINE Bytes times_3(Bytes v) {
  return hn::Add(hn::Add(v, v), v);
}

// planes = ceil(n/5) bytes from the digits of n values; digits past n must be 0.
HWY_INLINE void pack_planes(const TernaryBlock& block, std::size_t planes, std::byte* codes) {
  for (std::size_t j = 0; j < planes; j += kByteLanes) {
    const std::uint8_t* digits = block.digits + j;
    Bytes sum = hn::LoadU(kByte, digits + 4 * planes);
    for (std::size_t plane = kDigitsPerByte - 1; plane-- > 0;) {
      sum = hn::Add(times_3(sum), hn::LoadU(kByte, digits + plane * planes));
    }
    alignas(16) std::uint8_t bytes[kByteLanes];
    hn::Store(sum, kByte, bytes);
    std::memcpy(codes + j, bytes, std::min(kByteLanes, planes - j));
  }
}

// v / 3 in every byte, as v * 171 / 512.
HWY_INLINE Bytes third(Bytes v) {
  const hn::Full128<std::uint16_t> d;
  const auto factor = hn::Set(d, 171);
  const auto even = hn::And(hn::BitCast(d, v), hn::Set(d, 0x00ff));
  const auto odd = hn::ShiftRight<8>(hn::BitCast(d, v));
  const auto even_third = hn::ShiftRight<9>(hn::Mul(even, factor));
  const auto odd_third = hn::ShiftRight<9>(hn::Mul(odd, factor));
  return hn::BitCast(kByte, hn::Or(even_third, hn::ShiftLeft<8>(odd_third)));
}

// From the last vector of every plane to the first: what reaches past the end of a plane is written over.
HWY_INLINE void unpack_planes(const std::byte* codes, std::size_t planes, TernaryBlock& block) {
  for (std::size_t j = (planes - 1) / kByteLanes * kByteLanes + kByteLanes; j > 0; j -= kByteLanes) {
    const std::size_t begin = j - kByteLanes;
    alignas(16) std::uint8_t bytes[kByteLanes] = {};
    std::memcpy(bytes, codes + begin, std::min(kByteLanes, planes - begin));
    Bytes rest = hn::Load(kByte, bytes);
    for (std::size_t plane = 0; plane < kDigitsPerByte; ++plane) {
      const Bytes quotient = third(rest);
      hn::StoreU(hn::Sub(rest, times_3(quotient)), kByte, block.digits + plane * planes + begin);
      rest = quotient;
    }
  }
}

template <class Rule>
void encode_ternary_blocks(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes) {
  const std::size_t planes = TernaryPacking::bytes(run.block);
  TernaryBlock block{};
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    const float scale = Rule::scale(values + begin, run.block, run.rounding);
    std::memcpy(scales, &scale, sizeof scale);
    const Floats divisor = hn::Set(kFloat, scale);
    if (scale > 0) {
      for (std::size_t i = 0; i < run.block; i += kVectorGroup) {
        const GroupBytes digits = encode_group<Rule>(run, run.first + begin + i, values + begin + i, divisor);
        pack<8>(digits, reinterpret_cast<std::byte*>(block.digits + i));
      }
      pack_planes(block, planes, codes);
    } else {
      std::memset(codes, 0, planes);
    }
    scales += sizeof scale;
    codes += planes;
  }
}

template <bool kAdd>
void decode_ternary_blocks(const BlockRun& run, const std::byte* scales, const std::byte* codes,
                           float* values) {
  static constexpr std::int8_t kLevels[16] = {0, 1, -1};
  const std::size_t planes = TernaryPacking::bytes(run.block);
  TernaryBlock block;
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    float scale;
    std::memcpy(&scale, scales, sizeof scale);
    unpack_planes(codes, planes, block);
    for (std::size_t i = 0; i < run.block; i += kVectorGroup) {
      Floats levels[kVectors];
      to_floats(look_up(kLevels, unpack<8>(reinterpret_cast<const std::byte*>(block.digits + i))), levels);
      emit<kAdd>(levels, hn::Set(kFloat, scale), values + begin + i);
    }
    scales += sizeof scale;
    codes += planes;
  }
}

template <class Rule>
BlockLoops ternary_loops_of() {
  return {.encode = &encode_ternary_blocks<Rule>,
          .decode = &decode_ternary_blocks<false>,
          .decode_add = &decode_ternary_blocks<true>};
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_TERNARY_INL_H_
