// e4m3, e5m2, e2m1 and e3m0 in vectors; the rules are those of quant/codec/minifloat_rule.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernel/minifloat_kernel.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include <array>
#include <bit>

#include "quant/codec/minifloat_codec.h"
#include "quant/kernel/delta-inl.h"
#include "quant/kernel/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

BlockLoops minifloat_loops(std::uint8_t) {
  return {};
}

#else

// For the formats of four bits: their borders are multiples of a quarter (e2m1) or a half (e3m0) of the
// scale.
template <unsigned kExponentBits, unsigned kMantissaBits>
struct MinifloatCells {};

#if HWY_TARGET <= HWY_AVX3_DL

// The code of what lies in cell number c, which is [c, c + 1) / units. magnitudes: of the codes 0 to 7.
constexpr std::uint8_t code_of_cell(const float (&magnitudes)[8], float units, int c) {
  const float y = (static_cast<float>(c) + 0.5f) / units;
  const float a = y < 0 ? -y : y;
  unsigned code = 0;
  while (code < 7 && a > 0.5f * (magnitudes[code] + magnitudes[code + 1])) ++code;
  return static_cast<std::uint8_t>(y < 0 && code > 0 ? code + 8 : code);
}

// By the lowest bits of the cell's number, which is signed.
template <std::size_t kCount>
constexpr std::array<std::uint8_t, kCount> codes_of_cells(const float (&magnitudes)[8], float units) {
  std::array<std::uint8_t, kCount> codes{};
  for (std::size_t i = 0; i < kCount; ++i) {
    const int c = static_cast<int>(i) - (i < kCount / 2 ? 0 : static_cast<int>(kCount));
    codes[i] = code_of_cell(magnitudes, units, c);
  }
  return codes;
}

template <>
struct MinifloatCells<2, 1> {
  struct Cells {
    static constexpr float kUnits = 4;
    static constexpr int kRounding = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
    static constexpr float kCutAt = 0;
    static HWY_INLINE __m512i codes(__m512i cells) {
      alignas(64) static constexpr auto kCodes = codes_of_cells<64>({0, 0.5, 1, 1.5, 2, 3, 4, 6}, kUnits);
      return _mm512_permutexvar_epi8(cells, _mm512_load_si512(kCodes.data()));
    }
  };
};

template <>
struct MinifloatCells<3, 0> {
  struct Cells {
    static constexpr float kUnits = 2;
    static constexpr int kRounding = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
    // The largest magnitude is 64 scales, a border of cells that borders no codes; and 128 is no signed byte.
    static constexpr float kCutAt = 60.25f;
    static HWY_INLINE __m512i codes(__m512i cells) {
      alignas(64) static constexpr auto kCodes = codes_of_cells<256>({0, 1, 2, 4, 8, 16, 32, 64}, kUnits);
      const auto part = [](std::size_t i) HWY_ATTR { return _mm512_load_si512(kCodes.data() + 64 * i); };
      const __m512i positive = _mm512_permutex2var_epi8(part(0), cells, part(1));
      const __m512i negative = _mm512_permutex2var_epi8(part(2), cells, part(3));
      return _mm512_mask_blend_epi8(_mm512_movepi8_mask(cells), positive, negative);
    }
  };
};

#endif

// A magnitude a in [2^E, 2^(E+1)), or below 2^(1-bias) with E = 1 - bias, lies between multiples of the step
// 2^(E-M): a / step = q, and the code of the multiple i is i + ((E - (1 - bias)) << M), as a carry of i into
// the next binade is a carry of the code.
template <unsigned kExponentBits, unsigned kMantissaBits, int kBias, unsigned kMaxCode>
struct MinifloatRule : MinifloatCells<kExponentBits, kMantissaBits> {
  static constexpr unsigned kMagnitudeBits = kExponentBits + kMantissaBits;
  static constexpr unsigned kBits = kMagnitudeBits + 1;
  static constexpr std::uint8_t kZeroByte = 0;
  static constexpr int kLeastExponent = 1 - kBias;
  static constexpr std::uint32_t kLeastExponentBits = static_cast<std::uint32_t>(127 + kLeastExponent) << 23;
  static constexpr float kTop =
      std::bit_cast<float>((((kMaxCode >> kMantissaBits) + 127u - static_cast<unsigned>(kBias)) << 23) |
                           ((kMaxCode & ((1u << kMantissaBits) - 1)) << (23 - kMantissaBits)));

  static HWY_INLINE float scale_of(float largest) {
    return kMantissaBits == 0 ? exact_range_scale_of(largest, kTop) : range_scale_of(largest, kTop);
  }

  template <class Divisor>
  static HWY_INLINE Ints nearest(Floats x, const Divisor& scale) {
    const Floats y = scale.quotient(x, kTop);
    if constexpr (kMantissaBits == 0) return nearest_power(y);
    const Position p = position(y);
    return with_sign(y, hn::Add(nearest_int(p.q), p.base));
  }

  template <class Divisor>
  static HWY_INLINE Ints stochastic(Floats x, const Divisor& scale, Floats draw) {
    const Floats y = scale.cut_quotient(x, kTop);
    const Position p = position(y);
    return with_sign(y, hn::Add(round_by_draw(p.q, draw), p.base));
  }

  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
    if constexpr (kBits == 4) {
#if HWY_TARGET <= HWY_AVX3
      static constexpr float kE2m1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6};
      static constexpr float kE3m0[16] = {0, 1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64};
      look_up_halves(kMantissaBits == 0 ? kE3m0 : kE2m1, codes, result);
#else
      // In units of the least magnitude, so that bytes hold them.
      static constexpr std::int8_t kE2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
      static constexpr std::int8_t kE3m0[16] = {0, 1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64};
      to_floats(look_up(kMantissaBits == 0 ? kE3m0 : kE2m1, unpack<4>(codes)), result);
      if constexpr (kMantissaBits == 1) {
        for (Floats& level : result) level = hn::Mul(level, hn::Set(kFloat, 0.5f));
      }
#endif
    } else {
      const hn::Rebind<std::uint8_t, FloatTag> d;
      for (std::size_t k = 0; k < kVectors; ++k) {
        const auto* code = reinterpret_cast<const std::uint8_t*>(codes) + k * kLanes;
        result[k] = level(hn::PromoteTo(kInt, hn::LoadU(d, code)));
      }
    }
  }

 private:
  struct Position {
    Floats q;
    Ints base;
  };

  static HWY_INLINE Position position(Floats y) {
    const Floats a = hn::Abs(y);
    const Ints exponent = hn::Max(hn::And(hn::BitCast(kInt, a), hn::Set(kInt, 0x7f800000)),
                                  hn::Set(kInt, static_cast<std::int32_t>(kLeastExponentBits)));
    // 1 / step = 2^(M-E), by its exponent field.
    const Ints inverse_step =
        hn::Sub(hn::Set(kInt, static_cast<std::int32_t>((254u + kMantissaBits) << 23)), exponent);
    const Ints binade = hn::Sub(exponent, hn::Set(kInt, static_cast<std::int32_t>(kLeastExponentBits)));
    return {hn::Mul(a, hn::BitCast(kFloat, inverse_step)), hn::ShiftRight<23 - kMantissaBits>(binade)};
  }

  // Of formats without mantissa: the code of the power of two nearest to |y|. The sum below carries into the
  // exponent from 1.5 * 2^k on, and on it if the exponent, and so the code, becomes even. What lies between
  // 0.5, the border of 0, and 1 is 1.
  static HWY_INLINE Ints nearest_power(Floats y) {
    const Floats a = hn::Abs(y);
    const Ints bits = hn::BitCast(kInt, hn::Max(a, hn::Set(kFloat, 1.0f)));
    const Ints is_odd = hn::And(hn::ShiftRight<23>(bits), hn::Set(kInt, 1));
    const Ints rounded = hn::ShiftRight<23>(hn::Add(hn::Add(bits, is_odd), hn::Set(kInt, (1 << 22) - 1)));
    const Ints code =
        hn::Sub(rounded, hn::Set(kInt, static_cast<std::int32_t>(kLeastExponentBits >> 23) - 1));
    const auto is_zero = hn::RebindMask(kInt, hn::Le(a, hn::Set(kFloat, 0.5f)));
    return hn::IfThenZeroElse(is_zero, hn::Or(code, sign_of(y)));
  }

  // Ones from the sign bit of the code up, if y is negative.
  static HWY_INLINE Ints sign_of(Floats y) {
    return hn::AndNot(hn::Set(kInt, (1 << kMagnitudeBits) - 1), hn::BroadcastSignBit(hn::BitCast(kInt, y)));
  }

  // A magnitude of 0 has no sign.
  static HWY_INLINE Ints with_sign(Floats y, Ints magnitude) {
    return hn::IfThenZeroElse(hn::Eq(magnitude, hn::Zero(kInt)), hn::Or(magnitude, sign_of(y)));
  }

  // The code's bits as the top of a float32 with another bias; adding +0 takes the sign off -0.
  static HWY_INLINE Floats level(Ints code) {
    const Ints sign = hn::ShiftLeft<31 - kMagnitudeBits>(hn::And(code, hn::Set(kInt, 1 << kMagnitudeBits)));
    const Ints magnitude = hn::And(code, hn::Set(kInt, (1 << kMagnitudeBits) - 1));
    const Floats rebias =
        hn::Set(kFloat, std::bit_cast<float>(static_cast<std::uint32_t>(254 - kBias) << 23));
    const Ints bits = hn::Or(hn::ShiftLeft<23 - kMantissaBits>(magnitude), sign);
    return hn::Add(hn::Mul(hn::BitCast(kFloat, bits), rebias), hn::Zero(kFloat));
  }
};

BlockLoops minifloat_loops(std::uint8_t wire_id) {
  if (wire_id == kE4m3Format.wire_id) return ranged_loops_of<MinifloatRule<4, 3, 7, 126> >();
  if (wire_id == kE5m2Format.wire_id) return ranged_loops_of<MinifloatRule<5, 2, 15, 123> >();
  if (wire_id == kE2m1Format.wire_id) return ranged_loops_of<MinifloatRule<2, 1, 1, 7> >();
  if (wire_id == kE3m0Format.wire_id) return ranged_loops_of<MinifloatRule<3, 0, 1, 7> >();
  return {};
}

#endif
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinwire::quant {

HWY_EXPORT(minifloat_loops);

BlockLoops minifloat_vector_loops(std::uint8_t wire_id, Target target) {
  return HWY_DISPATCH_TABLE(minifloat_loops)[table_index(target)](wire_id);
}

}  // namespace thinwire::quant
#endif
