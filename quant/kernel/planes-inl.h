// Codes of 256 values in AVX-512 that follow from two comparisons a value. The comparisons give bits, 16 at
// once, and what packs the codes works on the bits.
#if defined(THINWIRE_KERNEL_PLANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_PLANES_INL_H_
#undef THINWIRE_KERNEL_PLANES_INL_H_
#else
#define THINWIRE_KERNEL_PLANES_INL_H_
#endif

#include "quant/kernel/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET <= HWY_AVX3

// Two bits of each value of a block, in order; zeros beyond the block.
struct MarkedBlock {
  static constexpr std::size_t kBytes = kUsualBlock / 8;
  alignas(64) std::uint8_t low[2 * kBytes] = {};
  alignas(64) std::uint8_t high[2 * kBytes] = {};

  HWY_INLINE void clear() {
    std::memset(low, 0, kBytes);
    std::memset(high, 0, kBytes);
  }
  // Of the 16 values from number i on.
  HWY_INLINE void set(std::size_t i, __mmask16 low_bits, __mmask16 high_bits) {
    _store_mask16(reinterpret_cast<__mmask16*>(low + i / 8), low_bits);
    _store_mask16(reinterpret_cast<__mmask16*>(high + i / 8), high_bits);
  }
};

// low: whether any bit of kLowMask is set in a byte, high: whether bit 1 is.
template <char kLowMask>
HWY_INLINE void mark_bytes(const std::byte* codes, MarkedBlock& block) {
  for (std::size_t i = 0; i < kUsualBlock; i += 64) {
    const __m512i bytes = _mm512_loadu_si512(codes + i);
    _store_mask64(reinterpret_cast<__mmask64*>(block.low + i / 8),
                  _mm512_test_epi8_mask(bytes, _mm512_set1_epi8(kLowMask)));
    _store_mask64(reinterpret_cast<__mmask64*>(block.high + i / 8),
                  _mm512_test_epi8_mask(bytes, _mm512_set1_epi8(2)));
  }
}

// Codes of two bits.
HWY_INLINE void pack_pairs(const MarkedBlock& block, std::byte* codes) {
  for (std::size_t i = 0; i < MarkedBlock::kBytes; i += 4) {
    std::uint32_t low, high;
    std::memcpy(&low, block.low + i, sizeof low);
    std::memcpy(&high, block.high + i, sizeof high);
    const std::uint64_t pairs = _pdep_u64(low, 0x5555555555555555u) | _pdep_u64(high, 0xaaaaaaaaaaaaaaaau);
    std::memcpy(codes + 2 * i, &pairs, sizeof pairs);
  }
}

// Ternary digits: 1 where the low bit is set, 2 where both are.
HWY_INLINE void pack_digits(const MarkedBlock& block, std::byte* codes) {
  constexpr std::size_t kPlane = (kUsualBlock + 4) / 5;
  constexpr std::uint64_t kWhole = (std::uint64_t{1} << kPlane) - 1;
  __m512i sum = _mm512_setzero_si512();
  char weight = 1;
  for (std::size_t plane = 0; plane < 5; ++plane, weight = static_cast<char>(3 * weight)) {
    const std::size_t bit = plane * kPlane;
    std::uint64_t nonzero, negative;
    std::memcpy(&nonzero, block.low + bit / 8, sizeof nonzero);
    std::memcpy(&negative, block.high + bit / 8, sizeof negative);
    nonzero = (nonzero >> bit % 8) & kWhole;
    negative = (negative >> bit % 8) & nonzero;
    const __m512i one = _mm512_set1_epi8(weight);
    sum = _mm512_mask_add_epi8(sum, nonzero, sum, one);
    sum = _mm512_mask_add_epi8(sum, negative, sum, one);
  }
  _mm512_mask_storeu_epi8(codes, kWhole, sum);
}

#endif  // HWY_TARGET <= HWY_AVX3
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_PLANES_INL_H_
