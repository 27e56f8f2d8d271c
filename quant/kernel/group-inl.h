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

#if HWY_TARGET <= HWY_AVX2

// The codes of a group, a byte each, on their way to memory.
using CodeBytes = __m256i;

// The low bytes of 32 integers in [-128, 127]. The packs work on 128-bit parts; one permutation restores the
// order.
HWY_INLINE CodeBytes narrow(const Ints (&v)[kVectors]) {
#if HWY_TARGET == HWY_AVX2
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0].raw, v[1].raw), _mm256_packs_epi32(v[2].raw, v[3].raw));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
  const __m512i words = _mm512_packs_epi32(v[0].raw, v[1].raw);
  const __m512i order = _mm512_castsi256_si512(_mm256_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13));
  return _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, _mm512_packs_epi16(words, words)));
#endif
}

// The low kBits bits of each byte, packed: 4 * kBits bytes. Neighbours meet in sums with weights that shift
// them.
template <unsigned kBits>
HWY_INLINE void pack(CodeBytes bytes, std::byte* codes) {
  if constexpr (kBits == 8) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), bytes);
  } else if constexpr (kBits == 4) {
    const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi8(0x0f));
    const __m256i pairs = _mm256_maddubs_epi16(low, _mm256_set1_epi16(0x1001));
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(pairs, pairs), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), _mm256_castsi256_si128(packed));
  } else if constexpr (kBits == 2) {
    const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi8(0x03));
    const __m256i pairs = _mm256_maddubs_epi16(low, _mm256_set1_epi16(0x0401));
    const __m256i quads = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00100001));
    const __m256i words = _mm256_packus_epi32(quads, quads);
    const __m256i halves = _mm256_packus_epi16(words, words);
    const __m256i packed = _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(codes), _mm256_castsi256_si128(packed));
  } else {
    static_assert(kBits == 1);
    const auto bits = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7)));
    std::memcpy(codes, &bits, sizeof bits);
  }
}

#else

using CodeBytes = GroupBytes;

HWY_INLINE CodeBytes narrow(const Ints (&v)[kVectors]) {
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
}

template <unsigned kBits>
HWY_INLINE void pack(const CodeBytes& bytes, std::byte* codes) {
  std::uint8_t* out = reinterpret_cast<std::uint8_t*>(codes);
  if constexpr (kBits == 8) {
    hn::StoreU(bytes.low, kByte, out);
    hn::StoreU(bytes.high, kByte, out + 16);
  } else if constexpr (kBits == 4) {
    const hn::Full128<std::uint16_t> d;
    const Bytes mask = hn::Set(kByte, 0x0f);
    Bytes sums[2] = {hn::And(bytes.low, mask), hn::And(bytes.high, mask)};
    for (Bytes& sum : sums) {
      const auto pairs = hn::BitCast(d, sum);
      sum = hn::BitCast(kByte, hn::Or(pairs, hn::ShiftRight<4>(pairs)));
    }
    hn::StoreU(hn::ConcatEven(kByte, sums[1], sums[0]), kByte, out);
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

#endif

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

#if HWY_TARGET <= HWY_AVX3
// The entries of a table of 16 at 32 codes of 4 bits.
HWY_INLINE void look_up_halves(const float* table, const std::byte* codes, Floats (&result)[kVectors]) {
  const __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  int words[2 * kVectors];
  std::memcpy(words, codes, sizeof words);
  for (std::size_t k = 0; k < kVectors; ++k) {
    const __m512i both = _mm512_mask_set1_epi32(_mm512_set1_epi32(words[2 * k]), 0xff00, words[2 * k + 1]);
    // The lookup reads the lowest four bits of each lane.
    result[k] = Floats{_mm512_permutexvar_ps(_mm512_srlv_epi32(both, shifts), _mm512_loadu_ps(table))};
  }
}
#endif

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
