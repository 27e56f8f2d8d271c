// Loops of the ternary format, whose blocks are packed in planes (quant/codec/packing.h).
//
// struct Rule { scale_of, kFitted, nearest, stochastic as in loops-inl.h; the codes are the digits 0, 1, 2.
// };
#if defined(THINWIRE_KERNEL_TERNARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_TERNARY_INL_H_
#undef THINWIRE_KERNEL_TERNARY_INL_H_
#else
#define THINWIRE_KERNEL_TERNARY_INL_H_
#endif

#include <algorithm>

#include "quant/codec/packing.h"
#include "quant/kernel/marked-inl.h"
#include "quant/kernel/settled-inl.h"

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

// The 16 code bytes from number j on, from the digits of a block.
HWY_INLINE Bytes pack_digits(const TernaryBlock& block, std::size_t planes, std::size_t j) {
  const std::uint8_t* digits = block.digits + j;
  Bytes sum = hn::LoadU(kByte, digits + 4 * planes);
  for (std::size_t plane = kDigitsPerByte - 1; plane-- > 0;) {
    sum = hn::Add(times_3(sum), hn::LoadU(kByte, digits + plane * planes));
  }
  return sum;
}

// planes = ceil(n/5) bytes from the digits of n values; digits past n must be 0.
HWY_INLINE void pack_planes(const TernaryBlock& block, std::size_t planes, std::byte* codes) {
  auto* out = reinterpret_cast<std::uint8_t*>(codes);
  std::size_t j = 0;
  for (; j + kByteLanes <= planes; j += kByteLanes) hn::StoreU(pack_digits(block, planes, j), kByte, out + j);
  alignas(16) std::uint8_t last[kByteLanes];
  hn::Store(pack_digits(block, planes, j), kByte, last);
  std::copy(last, last + (planes - j), out + j);
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

// The digits of 16 code bytes from number j on.
HWY_INLINE void unpack_digits(Bytes rest, std::size_t planes, std::size_t j, TernaryBlock& block) {
  for (std::size_t plane = 0; plane < kDigitsPerByte; ++plane) {
    const Bytes quotient = third(rest);
    hn::StoreU(hn::Sub(rest, times_3(quotient)), kByte, block.digits + plane * planes + j);
    rest = quotient;
  }
}

// From the last vector of every plane to the first: what reaches past the end of a plane is written over.
HWY_INLINE void unpack_planes(const std::byte* codes, std::size_t planes, TernaryBlock& block) {
  const auto* in = reinterpret_cast<const std::uint8_t*>(codes);
  std::size_t j = planes / kByteLanes * kByteLanes;
  alignas(16) std::uint8_t last[kByteLanes] = {};
  std::copy(in + j, in + planes, last);
  unpack_digits(hn::Load(kByte, last), planes, j, block);
  for (; j > 0; j -= kByteLanes) {
    unpack_digits(hn::LoadU(kByte, in + j - kByteLanes), planes, j - kByteLanes, block);
  }
}

// The digits as bytes, the form that every target and block has.
template <class Rule, Rounding kRounding, std::size_t kBlock>
struct TernaryDraft {
  TernaryBlock digits = {};

  HWY_INLINE void clear(std::size_t block) { std::memset(digits.digits, 0, block); }
  template <class Beside>
  HWY_INLINE void fill(std::size_t block, std::uint64_t key, std::uint64_t first, const float* values,
                       float scale, Beside& beside) {
    encode_block_codes<Rule, kRounding, 8, kBlock>(block, key, first, values, scale,
                                                   reinterpret_cast<std::byte*>(digits.digits), beside);
  }
  HWY_INLINE void pack(std::size_t block, std::byte* codes) const {
    pack_planes(digits, TernaryPacking::bytes(block), codes);
  }
};

template <class Rule>
void encode_ternary_blocks(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes) {
  const std::size_t code_bytes = TernaryPacking::bytes(run.block);
  with_constants(run, [&](auto rounding, auto block) HWY_ATTR {
    if constexpr (kMayMark<rounding(), block()>) {
      if (is_marked(run)) return encode_marked<Rule>(run, code_bytes, values, scales, codes);
    }
    encode_settled<TernaryDraft<Rule, rounding(), block()>, Rule, rounding(), block()>(run, code_bytes,
                                                                                       values, scales, codes);
  });
}

// As in settled-inl.h, each block is read while the digits of the next settle.
template <bool kAdd>
void decode_ternary_blocks(const BlockRun& run, const std::byte* scales, const std::byte* codes,
                           float* values) {
  static constexpr std::int8_t kLevels[16] = {0, 1, -1};
  const std::size_t planes = TernaryPacking::bytes(run.block);
  TernaryBlock blocks[2];
  std::size_t current = 0;
  unpack_planes(codes, planes, blocks[current]);
  for (std::size_t begin = 0; begin < run.num_values; begin += run.block) {
    codes += planes;
    if (begin + run.block < run.num_values) unpack_planes(codes, planes, blocks[1 - current]);
    float scale;
    std::memcpy(&scale, scales, sizeof scale);
    scales += sizeof scale;
    for (std::size_t i = 0; i < run.block; i += kVectorGroup) {
      const auto* digits = reinterpret_cast<const std::byte*>(blocks[current].digits + i);
      Floats levels[kVectors];
      to_floats(look_up(kLevels, unpack<8>(digits)), levels);
      emit<kAdd>(levels, hn::Set(kFloat, scale), values + begin + i);
    }
    current = 1 - current;
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
