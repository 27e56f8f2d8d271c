// nf4 in vectors; the rules are those of quant/codec/nf4_codec.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernel/nf4_kernel.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "quant/codec/nf4_codec.h"
#include "quant/kernel/delta-inl.h"
#include "quant/kernel/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

BlockLoops nf4_loops(std::uint8_t) {
  return {};
}

#else

constexpr float next_lower(float x) {
  if (x == 0) return -0x1p-149f;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>(x > 0 ? bits - 1 : bits + 1);
}
constexpr float next_higher(float x) {
  return -next_lower(-x);
}

// The code is the number of borders strictly below y. To nearest: midway between the levels, and one
// float32 lower where the tie goes up, to an even code. Stochastic: one float32 below the levels 1..14.
constexpr auto kNearestBorders = [] {
  std::array<float, 15> borders{};
  for (std::size_t i = 0; i < borders.size(); ++i) {
    const float middle = 0.5f * (kNf4Levels[i] + kNf4Levels[i + 1]);
    borders[i] = i % 2 == 0 ? middle : next_lower(middle);
  }
  return borders;
}();
constexpr auto kLevelBorders = [] {
  std::array<float, 15> borders{};
  for (std::size_t i = 0; i < 14; ++i) borders[i] = next_lower(kNf4Levels[i + 1]);
  borders[14] = std::numeric_limits<float>::infinity();
  return borders;
}();

// The borders by the steps of a binary search: of step d, those at the middle of its 2^d intervals.
struct SearchTables {
  float steps[4][16] = {};
};
constexpr SearchTables search_tables(const std::array<float, 15>& borders) {
  SearchTables tables;
  for (std::size_t step = 0; step < 4; ++step) {
    for (std::size_t i = 0; i < (std::size_t{1} << step); ++i) {
      tables.steps[step][i] = borders[(16 >> step) * i + (8 >> step) - 1];
    }
  }
  return tables;
}

// The borders by bins narrower than the distance of any two, numbered 0..31 by rounding y * kBinsPerUnit +
// kBinOfZero. No border is so near to an end of its bin that rounding could put y into the bin beside.
constexpr float kBinsPerUnit = 14.75f;
constexpr float kBinOfZero = 15.41f;
struct BinTables {
  float border[32] = {};        // in the bin, or infinity
  std::int32_t count[32] = {};  // of borders below the bin
  bool is_safe = true;
};
constexpr BinTables bin_tables(const std::array<float, 15>& borders) {
  constexpr float kMargin = 1e-3f;
  BinTables tables;
  for (int bin = 0; bin < 32; ++bin) {
    const float begin = (static_cast<float>(bin) - 0.5f - kBinOfZero) / kBinsPerUnit;
    const float end = begin + 1 / kBinsPerUnit;
    tables.border[bin] = std::numeric_limits<float>::infinity();
    for (const float border : borders) {
      tables.count[bin] += border < begin;
      if (border < begin || border >= end) continue;
      tables.is_safe &= tables.border[bin] == std::numeric_limits<float>::infinity() &&
                        border > begin + kMargin && border < end - kMargin;
      tables.border[bin] = border;
    }
  }
  return tables;
}

#if HWY_TARGET <= HWY_AVX3

constexpr BinTables kNearestBins = bin_tables(kNearestBorders);
static_assert(kNearestBins.is_safe);

struct MiddleTables {
  double middle[16] = {};       // between a border and the float32 above it; after the last, infinity
  std::int64_t below[16] = {};  // 1 where the middle itself is above the border
  std::int32_t which[32] = {};  // the border in a bin, 15 for none
};
constexpr MiddleTables kMiddles = [] {
  MiddleTables tables;
  for (std::size_t i = 0; i < 15; ++i) {
    const float border = kNearestBorders[i], above = next_higher(border);
    tables.middle[i] = (static_cast<double>(border) + static_cast<double>(above)) / 2;
    tables.below[i] = std::bit_cast<std::uint32_t>(border) % 2;
  }
  tables.middle[15] = std::numeric_limits<double>::infinity();
  for (std::size_t bin = 0; bin < 32; ++bin) {
    const auto found = std::find(kNearestBorders.begin(), kNearestBorders.end(), kNearestBins.border[bin]);
    tables.which[bin] = static_cast<std::int32_t>(found - kNearestBorders.begin());
  }
  return tables;
}();

// The borders carried to the values of a block, so that nothing divides: RN(x / s) is above a border b just
// where x / s is above the middle between b and the float32 above it, or lies on the middle and that float32
// is the even one. The middle times s has 49 bits and is exact in double; its float32 below is the last x
// that is not above b.
class ScaledBorders {
 public:
  template <class Divisor>
  explicit HWY_INLINE ScaledBorders(const Divisor& scale) {
    const __m512d s = _mm512_set1_pd(hn::GetLane(scale.scale()));
    const __m512 last = _mm512_insertf32x8(_mm512_castps256_ps512(last_below(s, 0)), last_below(s, 8), 1);
    low_ = _mm512_permutexvar_ps(_mm512_loadu_si512(kMiddles.which), last);
    high_ = _mm512_permutexvar_ps(_mm512_loadu_si512(kMiddles.which + kLanes), last);
    bins_per_value_ = _mm512_set1_ps(kBinsPerUnit / hn::GetLane(scale.scale()));
  }

  // How many of the borders lie strictly below x / s.
  HWY_INLINE __m512i count_below(__m512 x) const {
    const __m512 position = _mm512_fmadd_ps(x, bins_per_value_, _mm512_set1_ps(kBinOfZero));
    const __m512i bin =  // the lookups read its low five bits
        _mm512_castps_si512(_mm512_add_ps(position, _mm512_set1_ps(kIntShift)));
    const __m512i count = _mm512_permutex2var_epi32(_mm512_loadu_si512(kNearestBins.count), bin,
                                                    _mm512_loadu_si512(kNearestBins.count + kLanes));
    const __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_permutex2var_ps(low_, bin, high_), _CMP_GT_OQ);
    return _mm512_mask_add_epi32(count, above, count, _mm512_set1_epi32(1));
  }

 private:
  static HWY_INLINE __m256 last_below(__m512d scale, std::size_t from) {
    const __m512d middle = _mm512_mul_pd(scale, _mm512_loadu_pd(kMiddles.middle + from));
    // Where the middle does not count, the double below it.
    const __m512i sign = _mm512_srai_epi64(_mm512_castpd_si512(middle), 63);
    const __m512i below = _mm512_loadu_si512(kMiddles.below + from);
    const __m512i step = _mm512_sub_epi64(_mm512_xor_si512(below, sign), sign);
    const __m512d limit = _mm512_castsi512_pd(_mm512_sub_epi64(_mm512_castpd_si512(middle), step));
    return _mm512_cvt_roundpd_ps(limit, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }

  __m512 low_, high_, bins_per_value_;
};

#endif

struct Nf4Rule {
  static constexpr unsigned kBits = 4;
  static constexpr std::uint8_t kZeroByte = 0x77;

  static HWY_INLINE float scale_of(float largest) { return exact_range_scale_of(largest, 1); }
  template <class Divisor>
  static HWY_INLINE Ints nearest(Floats x, const Divisor& scale) {
#if HWY_TARGET <= HWY_AVX3
    if constexpr (Divisor::kHasReciprocal) return Ints{ScaledBorders(scale).count_below(x.raw)};
#endif
    return count_below<kNearestBorders>(scale.quotient(x, 1));
  }
  template <class Divisor>
  static HWY_INLINE Ints stochastic(Floats x, const Divisor& scale, Floats draw) {
    const Floats y = scale.cut_quotient(x, 1);
    const Ints code = count_below<kLevelBorders>(y);
    const Floats level = entries(kNf4Levels.data(), code);
    const Floats step = hn::Sub(entries(kNf4Levels.data(), hn::Add(code, hn::Set(kInt, 1))), level);
    const Floats unit = hn::Mul(hn::Add(draw, hn::Set(kFloat, 0.5f)), hn::Set(kFloat, 0x1p-16f));
    const auto up = hn::Lt(hn::Mul(unit, step), hn::Sub(y, level));
    return hn::Add(code, hn::IfThenElseZero(hn::RebindMask(kInt, up), hn::Set(kInt, 1)));
  }
  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
#if HWY_TARGET <= HWY_AVX3
    look_up_halves(kNf4Levels.data(), codes, result);
#else
    const GroupBytes bytes = unpack<4>(codes);
    alignas(16) std::uint8_t memory[kVectorGroup];
    hn::Store(bytes.low, kByte, memory);
    hn::Store(bytes.high, kByte, memory + 16);
    const hn::Rebind<std::uint8_t, FloatTag> d;
    for (std::size_t k = 0; k < kVectors; ++k) {
      result[k] = entries(kNf4Levels.data(), hn::PromoteTo(kInt, hn::LoadU(d, memory + k * kLanes)));
    }
#endif
  }

 private:
  // How many of the ascending borders lie strictly below y.
  template <const std::array<float, 15>& kBorders>
  static HWY_INLINE Ints count_below(Floats y) {
#if HWY_TARGET <= HWY_AVX3
    static constexpr BinTables kTables = bin_tables(kBorders);
    static_assert(kTables.is_safe);
    const Floats position = hn::MulAdd(y, hn::Set(kFloat, kBinsPerUnit), hn::Set(kFloat, kBinOfZero));
    const __m512i bin = nearest_int(position).raw;  // the lookups read its low five bits
    const __m512 border = _mm512_permutex2var_ps(_mm512_loadu_ps(kTables.border), bin,
                                                 _mm512_loadu_ps(kTables.border + kLanes));
    const __m512i count = _mm512_permutex2var_epi32(_mm512_loadu_si512(kTables.count), bin,
                                                    _mm512_loadu_si512(kTables.count + kLanes));
    return hn::Add(Ints{count}, is_above(y, Floats{border}));
#else
    if constexpr (kLanes >= 8) {
      static constexpr SearchTables kTables = search_tables(kBorders);
      Ints count = is_above(y, hn::Set(kFloat, kTables.steps[0][0]));
      for (std::size_t step = 1; step < 4; ++step) {
        const auto entry = hn::IndicesFromVec(kFloat, count);
        const Floats border = hn::TableLookupLanes(hn::LoadU(kFloat, kTables.steps[step]), entry);
        count = hn::Add(hn::Add(count, count), is_above(y, border));
      }
      return count;
    } else {
      Ints count = hn::Zero(kInt);
      for (const float border : kBorders) count = hn::Add(count, is_above(y, hn::Set(kFloat, border)));
      return count;
    }
#endif
  }

  // 1 or 0.
  static HWY_INLINE Ints is_above(Floats y, Floats border) {
    const auto mask = hn::VecFromMask(kFloat, hn::Gt(y, border));
    return hn::BitCast(kInt, hn::ShiftRight<31>(hn::BitCast(kUnsigned, mask)));
  }

  // table[index], index in 0..15.
  static HWY_INLINE Floats entries(const float* table, Ints index) {
#if HWY_TARGET == HWY_AVX2
    const Ints lane = hn::And(index, hn::Set(kInt, 7));
    const auto indices = hn::IndicesFromVec(kFloat, lane);
    const Floats low = hn::TableLookupLanes(hn::LoadU(kFloat, table), indices);
    const Floats high = hn::TableLookupLanes(hn::LoadU(kFloat, table + kLanes), indices);
    return hn::IfThenElse(hn::RebindMask(kFloat, hn::Gt(index, hn::Set(kInt, 7))), high, low);
#elif HWY_TARGET <= HWY_AVX3
    return hn::TableLookupLanes(hn::LoadU(kFloat, table), hn::IndicesFromVec(kFloat, index));
#else
    return hn::GatherIndex(kFloat, table, index);
#endif
  }
};

BlockLoops nf4_loops(std::uint8_t wire_id) {
  return wire_id == kNf4Format.wire_id ? ranged_loops_of<Nf4Rule>() : BlockLoops{};
}

#endif
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinwire::quant {

HWY_EXPORT(nf4_loops);

BlockLoops nf4_vector_loops(std::uint8_t wire_id, Target target) {
  return HWY_DISPATCH_TABLE(nf4_loops)[table_index(target)](wire_id);
}

}  // namespace thinwire::quant
#endif
