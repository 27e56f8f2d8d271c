// Blocks of 256 values in AVX-512 with VBMI: the codes of the formats whose scale covers the block.
//
// To nearest, nothing divides: the products of a value with two numbers just below and just above 1 / scale
// enclose the float32 quotient, and where both fall into one cell of a uniform grid, the quotient lies inside
// that cell too. Every border between two codes, and every tie, is a border between cells of the grid, so
// that the cell gives the code. Blocks with a value in doubt (about one in a thousand) are left to the
// caller.
//
// struct Cells {                       // of a rule of loops-inl.h
//   static constexpr float kUnits;     // cells per scale
//   static constexpr int kRounding;    // how the cell's number follows from the product
//   static constexpr float kCutAt;     // magnitudes beyond, in scales, have the code of this one; 0: none
//   static __m512i codes(__m512i cells);   // of 64 values; the low kBits bits count
// };
#if defined(THINWIRE_KERNEL_ENCLOSED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_ENCLOSED_INL_H_
#undef THINWIRE_KERNEL_ENCLOSED_INL_H_
#else
#define THINWIRE_KERNEL_ENCLOSED_INL_H_
#endif

#include <array>
#include <bit>

#include "quant/kernel/draws-inl.h"
#include "quant/kernel/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {

template <class Rule>
concept HasCells = requires {
  typename Rule::Cells;
};

#if HWY_TARGET <= HWY_AVX3_DL

// mask ? a : b, by bits.
HWY_INLINE __m512i choose(__m512i mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

// From four vectors, of each lane the 8 bits from bit kFrom on. Of lane i, those of v[0], v[2], v[1], v[3]
// become the bytes 4i to 4i + 3.
template <unsigned kFrom>
HWY_INLINE __m512i gather_bytes(const __m512i (&v)[4]) {
  const __m512i words = _mm512_set1_epi32(0x0000ffff), bytes = _mm512_set1_epi32(0x00ff00ff);
  if constexpr (kFrom == 0) {
    const __m512i a = choose(words, v[0], _mm512_slli_epi32(v[1], 16));
    const __m512i b = choose(words, v[2], _mm512_slli_epi32(v[3], 16));
    return choose(bytes, a, _mm512_slli_epi32(b, 8));
  } else {
    static_assert(kFrom > 8 && kFrom < 16);
    const __m512i a = choose(words, _mm512_srli_epi32(v[0], kFrom), _mm512_slli_epi32(v[1], 16 - kFrom));
    const __m512i b = choose(words, _mm512_srli_epi32(v[2], kFrom - 8), _mm512_slli_epi32(v[3], 24 - kFrom));
    return choose(bytes, a, b);
  }
}

// Which vector the byte at each place of a lane comes from.
constexpr std::size_t kGathered[4] = {0, 2, 1, 3};

// 64 gathered codes as bytes in the order of the values.
HWY_INLINE __m512i in_order(__m512i gathered) {
  alignas(64) static constexpr auto kOrder = [] {
    std::array<std::uint8_t, 64> order{};
    for (std::size_t j = 0; j < 64; ++j) order[j] = static_cast<std::uint8_t>(j % 16 * 4 + kGathered[j / 16]);
    return order;
  }();
  return _mm512_permutexvar_epi8(_mm512_load_si512(kOrder.data()), gathered);
}

// Two codes of 4 bits a byte: of neighbouring lanes, in the lower half of each 8 bytes.
HWY_INLINE __m512i join_halves(__m512i gathered) {
  return choose(_mm512_set1_epi8(0x0f), gathered, _mm512_srli_epi64(gathered, 28));
}

// 128 gathered codes of 4 bits in the order of the values.
HWY_INLINE __m512i halves_in_order(__m512i first, __m512i second) {
  alignas(64) static constexpr auto kOrder = [] {
    std::array<std::uint8_t, 64> order{};
    for (std::size_t j = 0; j < 64; ++j)
      order[j] = static_cast<std::uint8_t>(j % 8 * 8 + j / 32 * 4 + kGathered[j / 8 % 4]);
    return order;
  }();
  const __m512i both = _mm512_mask_shuffle_epi32(join_halves(first), 0xaaaa, join_halves(second),
                                                 static_cast<_MM_PERM_ENUM>(0xa0));
  return _mm512_permutexvar_epi8(_mm512_load_si512(kOrder.data()), both);
}

// Writes a block's codes; codes(i) are those of the 64 values from number i on, gathered.
template <unsigned kBits, class Codes>
HWY_INLINE void store_codes(std::byte* out, Codes codes) {
  static_assert(kBits == 8 || kBits == 4);
  if constexpr (kBits == 8) {
    for (std::size_t i = 0; i < kUsualBlock; i += 64) _mm512_storeu_si512(out + i, in_order(codes(i)));
  } else {
    for (std::size_t i = 0; i < kUsualBlock; i += 128) {
      const __m512i first = codes(i);
      _mm512_storeu_si512(out + i / 2, halves_in_order(first, codes(i + 64)));
    }
  }
}

// The codes of a block of usual scale, to nearest. False if they are in doubt; they are written either way.
template <class Rule, class Beside>
HWY_INLINE bool encode_enclosed(const float* values, float scale, std::byte* codes, Beside& beside) {
  using Cells = typename Rule::Cells;
  // Each product below may round twice: 2^-22 keeps more than half a unit of the quotient's last place free.
  const float reciprocal = Cells::kUnits / scale;
  const __m512 low = _mm512_set1_ps(reciprocal * (1 - 0x1p-22f));
  const __m512 high = _mm512_set1_ps(reciprocal * (1 + 0x1p-22f));
  const __m512 shift = _mm512_set1_ps(0x1.8p23f);  // leaves the number of the cell in the low bits
  const __m512 limit = _mm512_set1_ps(Cells::kCutAt * scale);
  __m512i doubt = _mm512_setzero_si512();
  store_codes<Rule::kBits>(codes, [&](std::size_t i) HWY_ATTR {
    beside.at(i);
    beside.at(i + kVectorGroup);
    __m512i cells[4];
    for (std::size_t k = 0; k < 4; ++k) {
      const float* from = values + i + 16 * k;
      __m512 x = _mm512_loadu_ps(from);
      if constexpr (Cells::kCutAt > 0) x = _mm512_range_ps(x, limit, 0x2);  // the lesser magnitude, x's sign
      cells[k] = _mm512_castps_si512(_mm512_fmadd_round_ps(x, low, shift, Cells::kRounding));
      const __m512i other = _mm512_castps_si512(_mm512_fmadd_round_ps(x, high, shift, Cells::kRounding));
      doubt = _mm512_ternarylogic_epi32(doubt, cells[k], other, 0xf6);  // doubt | (cells ^ other)
    }
    return Cells::codes(gather_bytes<0>(cells));
  });
  return _mm512_test_epi32_mask(doubt, doubt) == 0;
}

// The codes of a block of usual scale by fixed-point draws (quant/codec/stochastic.h). first: the offset in
// the payload of the block's first value.
template <class Rule, class Beside>
HWY_INLINE void encode_drawn(const float* values, float scale, std::uint64_t key, std::uint64_t first,
                             std::byte* codes, Beside& beside) {
  const __m512 reciprocal = _mm512_set1_ps(1.0f / scale);
  const __m512 shift = _mm512_set1_ps(kFixedShift);
  Unsigneds counters =
      hn::Add(hn::Set(kUnsigned, static_cast<std::uint32_t>(first / 2)), hn::Iota(kUnsigned, 0));
  store_codes<Rule::kBits>(codes, [&](std::size_t i) HWY_ATTR {
    beside.at(i);
    beside.at(i + kVectorGroup);
    __m512i sums[4];
    for (std::size_t k = 0; k < 4; k += 2) {
      const float* from = values + i + 16 * k;
      const __m512i hash = draw_hashes(key, counters).raw;
      counters = hn::Add(counters, hn::Set(kUnsigned, kLanes));
      const __m512i draws[2] = {_mm512_and_si512(hash, _mm512_set1_epi32(0x7fff)),
                                _mm512_srli_epi32(hash, 17)};
      for (std::size_t half = 0; half < 2; ++half) {
        beside.ask_for(from + 16 * half);
        const __m512 y = _mm512_mul_ps(_mm512_loadu_ps(from + 16 * half), reciprocal);
        sums[k + half] = _mm512_add_epi32(_mm512_castps_si512(_mm512_add_ps(y, shift)), draws[half]);
      }
    }
    const __m512i codes_and_half =
        gather_bytes<kFixedBits>(sums);  // the shift's own bit is the byte's highest
    return _mm512_xor_si512(codes_and_half, _mm512_set1_epi8(static_cast<char>(0x80)));
  });
}

#endif  // HWY_TARGET <= HWY_AVX3_DL
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_ENCLOSED_INL_H_
