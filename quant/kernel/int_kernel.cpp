// int8, int4, int2, sign and ternary in vectors; the rules are those of
// quant/codec/{int,sign}_rule.h and ternary_codec.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernel/int_kernel.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include <bit>

#include "quant/codec/int_codec.h"
#include "quant/codec/sign_codec.h"
#include "quant/codec/ternary_codec.h"
#include "quant/kernel/delta-inl.h"
#include "quant/kernel/dispatch.h"
#include "quant/kernel/loops-inl.h"
#include "quant/kernel/ternary-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

BlockLoops int_loops(std::uint8_t) {
  return {};
}

#else

template <unsigned kCodeBits>
struct IntRule {
  static constexpr unsigned kBits = kCodeBits;
  static constexpr std::uint8_t kZeroByte = 0;
  static constexpr float kTop = (1 << (kBits - 1)) - 1;

  static HWY_INLINE float scale_of(float largest) { return range_scale_of(largest, kTop); }
  template <class Divisor>
  static HWY_INLINE Ints nearest(Floats x, const Divisor& scale) {
    return nearest_int(scale.quotient(x, kTop));
  }
  template <class Divisor>
  static HWY_INLINE Ints drawn(Floats x, const Divisor& scale, Unsigneds draw) {
    return add_fixed_draw(scale.cut_product(x, kTop), draw);
  }
#if HWY_TARGET <= HWY_AVX3_DL
  // A cell around each level; a tie is a border.
  struct Cells {
    static constexpr float kUnits = 1;
    static constexpr int kRounding = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    static constexpr float kCutAt = 0;
    static HWY_INLINE __m512i codes(__m512i cells) { return cells; }
  };
#endif
  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
    if constexpr (kBits == 8) {
      to_floats(unpack<8>(codes), result);
    } else {
#if HWY_TARGET <= HWY_AVX3
      static constexpr float kLevels[16] = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
      look_up_halves(kLevels, codes, result);
#else
      static constexpr std::int8_t kLevels[16] = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
      to_floats(look_up(kLevels, unpack<4>(codes)), result);
#endif
    }
  }
};

struct Int2Rule {
  static constexpr unsigned kBits = 2;
  static constexpr std::uint8_t kZeroByte = 0;
  static constexpr TwoLevels kFitted = kInt2Levels;

  static HWY_INLINE float scale_of(float largest) { return range_scale_of(largest, 3); }

  // Those of position() carried back to x. 2s is one; -2s is too, or its neighbour where that rounds to it.
  struct Borders {
    explicit HWY_INLINE Borders(float scale) {
      const float twice = scale + scale;
      const float below = std::bit_cast<float>(std::bit_cast<std::uint32_t>(twice) - 1);
      two = hn::Set(kFloat, twice);
      minus_two = hn::Set(kFloat, below / scale >= 0x1.fffffep0f ? -below : -twice);
      zero = hn::Set(kFloat, scale * -0x1p-24f);
    }
    Floats two, minus_two, zero;
  };

  template <class Divisor>
  static HWY_INLINE Ints nearest(Floats x, const Divisor& scale) {
    if constexpr (Divisor::kHasReciprocal) {
      const Borders borders(hn::GetLane(scale.scale()));
      const auto code_if = [](hn::Mask<FloatTag> mask, int code, Ints otherwise) HWY_ATTR {
        return hn::IfThenElse(hn::RebindMask(kInt, mask), hn::Set(kInt, code), otherwise);
      };
      const Ints upper = code_if(hn::Gt(x, borders.two), 1, hn::Zero(kInt));
      return code_if(hn::Le(x, borders.minus_two), -2, code_if(hn::Lt(x, borders.zero), -1, upper));
    } else {
      return nearest_int(position(scale.cut_quotient(x, 3)));
    }
  }
  template <class Divisor>
  static HWY_INLINE Ints stochastic(Floats x, const Divisor& scale, Floats draw) {
    return round_by_draw(position(scale.cut_quotient(x, 3)), draw);
  }
  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
    static constexpr std::int8_t kLevels[16] = {1, 3, -3, -1};
    to_floats(look_up(kLevels, unpack<2>(codes)), result);
  }
#if HWY_TARGET <= HWY_AVX3
  static constexpr char kLowMask = 1;
  class Marker {
   public:
    explicit HWY_INLINE Marker(const UsualDivisor& scale) : borders_(hn::GetLane(scale.scale())) {}
    HWY_INLINE void mark(Floats x, std::size_t i, MarkedBlock& block) const {
      const auto negative = hn::Lt(x, borders_.zero);
      const auto upper = hn::Gt(x, hn::IfThenElse(negative, borders_.minus_two, borders_.two));
      block.set(i, upper.raw, negative.raw);
    }

   private:
    Borders borders_;
  };
  static HWY_INLINE void pack_marks(const MarkedBlock& block, std::byte* codes) {
    pack_pairs(block, codes);
  }
#endif

 private:
  static HWY_INLINE Floats position(Floats y) {
    const Floats half = hn::Set(kFloat, 0.5f);
    return hn::Sub(hn::Mul(half, y), half);
  }
};

struct SignRule {
  static constexpr unsigned kBits = 1;
  static constexpr std::uint8_t kZeroByte = 0;
  static constexpr TwoLevels kFitted = kSignLevels;

  static HWY_INLINE float scale_of(float largest) { return exact_range_scale_of(largest, 1); }
  template <class Divisor>
  static HWY_INLINE Ints nearest(Floats x, const Divisor&) {
    return hn::BroadcastSignBit(hn::BitCast(kInt, x));
  }
  template <class Divisor>
  static HWY_INLINE Ints stochastic(Floats x, const Divisor& scale, Floats draw) {
    const Floats half = hn::Set(kFloat, 0.5f);
    const auto positive = is_drawn(draw, hn::Add(hn::Mul(half, scale.cut_quotient(x, 1)), half));
    return hn::IfThenZeroElse(hn::RebindMask(kInt, positive), hn::Set(kInt, 1));
  }
  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
    static constexpr std::int8_t kLevels[16] = {1, -1};
    to_floats(look_up(kLevels, unpack<1>(codes)), result);
  }
};

struct TernaryRule {
  static constexpr TwoLevels kFitted = kTernaryLevels;

  static HWY_INLINE float scale_of(float largest) { return exact_range_scale_of(largest, 1); }
  // |x| / s > 1/2 in float32 just where |x| > s / 2: above 1/2 no quotient is as near as half a unit.
  template <class Divisor>
  static HWY_INLINE Ints nearest(Floats x, const Divisor& scale) {
    const auto beyond = hn::Gt(hn::Abs(x), hn::Mul(scale.scale(), hn::Set(kFloat, 0.5f)));
    const Ints sign = hn::BroadcastSignBit(hn::BitCast(kInt, x));
    return hn::IfThenElseZero(hn::RebindMask(kInt, beyond), hn::Sub(hn::Set(kInt, 1), sign));
  }
  template <class Divisor>
  static HWY_INLINE Ints stochastic(Floats x, const Divisor& scale, Floats draw) {
    return digit(round_by_draw(scale.cut_quotient(x, 1), draw));
  }
#if HWY_TARGET <= HWY_AVX3
  static constexpr char kLowMask = 3;
  class Marker {
   public:
    explicit HWY_INLINE Marker(const UsualDivisor& scale)
        : half_(hn::Mul(scale.scale(), hn::Set(kFloat, 0.5f))) {}
    HWY_INLINE void mark(Floats x, std::size_t i, MarkedBlock& block) const {
      block.set(i, hn::Gt(hn::Abs(x), half_).raw, _mm512_movepi32_mask(hn::BitCast(kInt, x).raw));
    }

   private:
    Floats half_;
  };
  static HWY_INLINE void pack_marks(const MarkedBlock& block, std::byte* codes) {
    pack_digits(block, codes);
  }
#endif

 private:
  // 0, 1, -1 to 0, 1, 2.
  static HWY_INLINE Ints digit(Ints sign) {
    return hn::Add(sign, hn::And(hn::BroadcastSignBit(sign), hn::Set(kInt, 3)));
  }
};

void encode_int2_blocks(const BlockRun& run, const float* values, std::byte* scales, std::byte* codes) {
  with_constants(run, [&](auto rounding, auto block) HWY_ATTR {
    if constexpr (kMayMark<rounding(), block()>) {
      if (is_marked(run)) return encode_marked<Int2Rule>(run, run.block / 4, values, scales, codes);
    }
    encode_rounded<Int2Rule, rounding(), block()>(run, values, scales, codes);
  });
}

BlockLoops int2_loops() {
  BlockLoops loops = loops_of<Int2Rule>();
  loops.encode = &encode_int2_blocks;
  return loops;
}

BlockLoops int_loops(std::uint8_t wire_id) {
  if (wire_id == kInt8Format.wire_id) return ranged_loops_of<IntRule<8> >();
  if (wire_id == kInt4Format.wire_id) return ranged_loops_of<IntRule<4> >();
  if (wire_id == kInt2Format.wire_id) return int2_loops();
  if (wire_id == kSignFormat.wire_id) return loops_of<SignRule>();
  if (wire_id == kTernaryFormat.wire_id) return ternary_loops_of<TernaryRule>();
  return {};
}

#endif
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinwire::quant {

HWY_EXPORT(int_loops);

BlockLoops int_vector_loops(std::uint8_t wire_id, Target target) {
  return HWY_DISPATCH_TABLE(int_loops)[table_index(target)](wire_id);
}

}  // namespace thinwire::quant
#endif
