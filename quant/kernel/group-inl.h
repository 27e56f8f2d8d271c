// Building blocks of the kernels, per target: groups of 32 values and their codes, as 32 bytes or packed.
// Include guard and namespace follow Highway's rules for -inl headers: the file is read once for every
// target.
#if defined(THINWIRE_KERNEL_GROUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_GROUP_INL_H_
#undef THINWIRE_KERNEL_GROUP_INL_H_
#else
#define THINWIRE_KERNEL_GROUP_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "quant/kernel/vector_loops.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::RebindToSigned<FloatTag>;
using UnsignedTag = hn::RebindToUnsigned<FloatTag>;
using ByteTag = hn::Full128<std::uint8_t>;
using Floats = hn::Vec<FloatTag>;
using Ints = hn::Vec<IntTag>;
using Unsigneds = hn::Vec<UnsignedTag>;
using Bytes = hn::Vec<ByteTag>;

constexpr FloatTag kFloat;
constexpr IntTag kInt;
constexpr UnsignedTag kUnsigned;
constexpr ByteTag kByte;

constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
constexpr std::size_t kVectors = kVectorGroup / kLanes;  // per group
static_assert(kLanes >= 4 && kLanes <= 16);

// 32 bytes, in the order of the values.
struct GroupBytes {
  Bytes low;
  Bytes high;
};

// The low bytes of 32 integers in [-128, 127].
HWY_INLINE GroupBytes narrow(const Ints (&v)[kVectors]) {
#if HWY_TARGET == HWY_AVX2
  // The packs work on 128-bit halves; one permutation restores the order.
  const __m256i pairs =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0].raw, v[1].raw), _mm256_packs_epi32(v[2].raw, v[3].raw));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i bytes = _mm256_permutevar8x32_epi32(pairs, order);
  return {Bytes{_mm256_castsi256_si128(bytes)}, Bytes{_mm256_extracti128_si256(bytes, 1)}};
#elif HWY_TARGET == HWY_AVX3
  const hn::Full128<std::int8_t> signed_bytes;
  return {hn::BitCast(kByte, hn::DemoteTo(signed_bytes, v[0])),
          hn::BitCast(kByte, hn::DemoteTo(signed_bytes, v[1]))};
#else
  const hn::Full128<std::int16_t> words;
  const hn::Half<decltype(words)> half_words;
  const hn::Full128<std::int8_t> signed_bytes;
  const hn::Half<decltype(signed_bytes)> half_bytes;
  Bytes result[2];
  for (std::size_t k = 0; k < 2; ++k) {
    const auto w0 =
        hn::Combine(words, hn::DemoteTo(half_words, v[4 * k + 1]), hn::DemoteTo(half_words, v[4 * k]));
    const auto w1 =
        hn::Combine(words, hn::DemoteTo(half_words, v[4 * k + 3]), hn::DemoteTo(half_words, v[4 * k + 2]));
    result[k] = hn::BitCast(
        kByte, hn::Combine(signed_bytes, hn::DemoteTo(half_bytes, w1), hn::DemoteTo(half_bytes, w0)));
  }
  return {result[0], result[1]};
#endif
}

// The low kBits bits of each byte, packed: 4 * kBits bytes.
template <unsigned kBits>
HWY_INLINE void pack(const GroupBytes& bytes, std::byte* codes) {
  std::uint8_t* out = reinterpret_cast<std::uint8_t*>(codes);
  if constexpr (kBits == 8) {
    hn::StoreU(bytes.low, kByte, out);
    hn::StoreU(bytes.high, kByte, out + 16);
  } else if constexpr (kBits == 4) {
    const Bytes mask = hn::Set(kByte, 0x0f);
    const Bytes pairs[2] = {hn::And(bytes.low, mask), hn::And(bytes.high, mask)};
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSSE3
    // Sums of neighbours times (1, 16), in one instruction; better targets have smaller numbers.
    const __m128i weights = _mm_set1_epi16(0x1001);
    const __m128i low = _mm_maddubs_epi16(pairs[0].raw, weights);
    const __m128i high = _mm_maddubs_epi16(pairs[1].raw, weights);
    hn::StoreU(Bytes{_mm_packus_epi16(low, high)}, kByte, out);
#else
    const hn::Full128<std::uint16_t> d;
    Bytes sums[2];
    for (std::size_t k = 0; k < 2; ++k) {
      const auto w = hn::BitCast(d, pairs[k]);
      sums[k] = hn::BitCast(kByte, hn::Or(w, hn::ShiftRight<4>(w)));
    }
    hn::StoreU(hn::ConcatEven(kByte, sums[1], sums[0]), kByte, out);
#endif
  } else if constexpr (kBits == 2) {
    const hn::Full128<std::uint32_t> d;
    Bytes quads[2] = {bytes.low, bytes.high};
    for (Bytes& quad : quads) {
      const auto w = hn::BitCast(d, quad);
      const auto first =
          hn::Or(hn::And(w, hn::Set(d, 0x03)), hn::And(hn::ShiftRight<6>(w), hn::Set(d, 0x0c)));
      const auto last = hn::Or(hn::And(hn::ShiftRight<12>(w), hn::Set(d, 0x30)),
                               hn::And(hn::ShiftRight<18>(w), hn::Set(d, 0xc0)));
      quad = hn::BitCast(kByte, hn::Or(first, last));
    }
    const Bytes evens = hn::ConcatEven(kByte, quads[1], quads[0]);
    hn::StoreU(hn::LowerHalf(hn::ConcatEven(kByte, evens, evens)), hn::Half<ByteTag>(), out);
  } else {
    static_assert(kBits == 1);
    // Bit 0 of every byte, moved to the byte's sign.
    const hn::Full128<std::uint16_t> d;
    const hn::Full128<std::int8_t> signed_bytes;
    for (const Bytes half : {bytes.low, bytes.high}) {
      const auto sign = hn::BitCast(signed_bytes, hn::ShiftLeft<7>(hn::BitCast(d, half)));
      hn::StoreMaskBits(signed_bytes, hn::Lt(sign, hn::Zero(signed_bytes)), out);
      out += 2;
    }
  }
}

// The inverse of pack: 32 codes from 4 * kBits bytes, each in a byte whose other bits are 0.
template <unsigned kBits>
HWY_INLINE GroupBytes unpack(const std::byte* codes) {
  const std::uint8_t* in = reinterpret_cast<const std::uint8_t*>(codes);
  if constexpr (kBits == 8) {
    return {hn::LoadU(kByte, in), hn::LoadU(kByte, in + 16)};
  } else if constexpr (kBits == 4) {
    const hn::Full128<std::uint16_t> d;
    const Bytes mask = hn::Set(kByte, 0x0f);
    const Bytes pairs = hn::LoadU(kByte, in);
    const Bytes first = hn::And(pairs, mask);
    const Bytes second = hn::And(hn::BitCast(kByte, hn::ShiftRight<4>(hn::BitCast(d, pairs))), mask);
    return {hn::InterleaveLower(kByte, first, second), hn::InterleaveUpper(kByte, first, second)};
  } else if constexpr (kBits == 2) {
    const hn::Full128<std::uint32_t> d;
    Bytes halves[2];
    for (std::size_t k = 0; k < 2; ++k) {
      const auto w = hn::PromoteTo(d, hn::LoadU(hn::Simd<std::uint8_t, 4, 0>(), in + 4 * k));
      const auto first =
          hn::Or(hn::And(w, hn::Set(d, 0x03)), hn::And(hn::ShiftLeft<6>(w), hn::Set(d, 0x0300)));
      const auto last = hn::Or(hn::And(hn::ShiftLeft<12>(w), hn::Set(d, 0x030000)),
                               hn::And(hn::ShiftLeft<18>(w), hn::Set(d, 0x03000000)));
      halves[k] = hn::BitCast(kByte, hn::Or(first, last));
    }
    return {halves[0], halves[1]};
  } else {
    static_assert(kBits == 1);
    alignas(16) static constexpr std::uint8_t kSource[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                                             2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
    alignas(16) static constexpr std::uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                                          1, 2, 4, 8, 16, 32, 64, 128};
    const Bytes bit = hn::Load(kByte, kBit);
    const Bytes one = hn::Set(kByte, 1);
    std::uint32_t word;
    std::memcpy(&word, in, sizeof word);
    const Bytes four = hn::BitCast(kByte, hn::Set(hn::Full128<std::uint32_t>(), word));
    Bytes halves[2];
    for (std::size_t k = 0; k < 2; ++k) {
      const Bytes copies = hn::TableLookupBytes(four, hn::Load(kByte, kSource + 16 * k));
      halves[k] = hn::And(hn::VecFromMask(kByte, hn::TestBit(copies, bit)), one);
    }
    return {halves[0], halves[1]};
  }
}

// Each byte (below 16) replaced by its entry of a table of 16.
HWY_INLINE GroupBytes look_up(const std::int8_t (&table)[16], const GroupBytes& bytes) {
  const Bytes entries = hn::LoadU(kByte, reinterpret_cast<const std::uint8_t*>(table));
  return {hn::TableLookupBytes(entries, bytes.low), hn::TableLookupBytes(entries, bytes.high)};
}

// The bytes as signed integers in float32.
HWY_INLINE void to_floats(const GroupBytes& bytes, Floats (&result)[kVectors]) {
  alignas(16) std::int8_t memory[kVectorGroup];
  hn::Store(bytes.low, kByte, reinterpret_cast<std::uint8_t*>(memory));
  hn::Store(bytes.high, kByte, reinterpret_cast<std::uint8_t*>(memory) + 16);
  const hn::Rebind<std::int8_t, FloatTag> d;
  for (std::size_t k = 0; k < kVectors; ++k) {
    result[k] = hn::ConvertTo(kFloat, hn::PromoteTo(kInt, hn::LoadU(d, memory + k * kLanes)));
  }
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_GROUP_INL_H_
