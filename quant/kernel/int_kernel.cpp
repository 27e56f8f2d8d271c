// int8, int4, int2, sign and ternary in vectors; the rules are those of
// quant/codec/{int,sign,ternary}_codec.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernel/int_kernel.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include "quant/codec/int_codec.h"
#include "quant/codec/sign_codec.h"
#include "quant/codec/ternary_codec.h"
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
  static constexpr bool kNearestDivides = true;
  static constexpr float kTop = (1 << (kBits - 1)) - 1;

  static HWY_INLINE float scale(const float* values, std::size_t n, Rounding) {
    return range_scale_of(largest_magnitude(values, n), kTop);
  }
  static HWY_INLINE Ints nearest(Floats y) { return nearest_int(clamp(y, kTop)); }
  static HWY_INLINE Ints stochastic(Floats y, Floats unit) { return round_by_draw(clamp(y, kTop), unit); }
  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
    if constexpr (kBits == 8) {
      to_floats(unpack<8>(codes), result);
    } else {
      static constexpr std::int8_t kLevels[16] = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
      to_floats(look_up(kLevels, unpack<4>(codes)), result);
    }
  }
};

struct Int2Rule {
  static constexpr unsigned kBits = 2;
  static constexpr std::uint8_t kZeroByte = 0;
  static constexpr bool kNearestDivides = true;

  static HWY_INLINE float scale(const float* values, std::size_t n, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return range_scale_of(largest_magnitude(values, n), 3);
    return least_squares_scale(values, n, kInt2Levels);
  }
  static HWY_INLINE Ints nearest(Floats y) { return nearest_int(position(y)); }
  static HWY_INLINE Ints stochastic(Floats y, Floats unit) { return round_by_draw(position(y), unit); }
  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
    static constexpr std::int8_t kLevels[16] = {1, 3, -3, -1};
    to_floats(look_up(kLevels, unpack<2>(codes)), result);
  }

 private:
  static HWY_INLINE Floats position(Floats y) {
    const Floats half = hn::Set(kFloat, 0.5f);
    return hn::Sub(hn::Mul(half, clamp(y, 3)), half);
  }
};

struct SignRule {
  static constexpr unsigned kBits = 1;
  static constexpr std::uint8_t kZeroByte = 0;
  static constexpr bool kNearestDivides = false;

  static HWY_INLINE float scale(const float* values, std::size_t n, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return exact_range_scale_of(largest_magnitude(values, n), 1);
    return least_squares_scale(values, n, kSignLevels);
  }
  static HWY_INLINE Ints nearest(Floats x) { return hn::ShiftRight<31>(hn::BitCast(kInt, x)); }
  static HWY_INLINE Ints stochastic(Floats y, Floats unit) {
    const Floats half = hn::Set(kFloat, 0.5f);
    const auto positive = hn::Lt(unit, hn::Add(hn::Mul(half, y), half));
    return hn::IfThenZeroElse(hn::RebindMask(kInt, positive), hn::Set(kInt, 1));
  }
  static HWY_INLINE void levels(const std::byte* codes, Floats (&result)[kVectors]) {
    static constexpr std::int8_t kLevels[16] = {1, -1};
    to_floats(look_up(kLevels, unpack<1>(codes)), result);
  }
};

struct TernaryRule {
  static constexpr bool kNearestDivides = true;

  static HWY_INLINE float scale(const float* values, std::size_t n, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return exact_range_scale_of(largest_magnitude(values, n), 1);
    return least_squares_scale(values, n, kTernaryLevels);
  }
  static HWY_INLINE Ints nearest(Floats y) { return digit(nearest_int(clamp(y, 1))); }
  static HWY_INLINE Ints stochastic(Floats y, Floats unit) { return digit(round_by_draw(clamp(y, 1), unit)); }

 private:
  // 0, 1, -1 to 0, 1, 2.
  static HWY_INLINE Ints digit(Ints sign) {
    return hn::Add(sign, hn::And(hn::BroadcastSignBit(sign), hn::Set(kInt, 3)));
  }
};

BlockLoops int_loops(std::uint8_t wire_id) {
  if (wire_id == kInt8Format.wire_id) return loops_of<IntRule<8> >();
  if (wire_id == kInt4Format.wire_id) return loops_of<IntRule<4> >();
  if (wire_id == kInt2Format.wire_id) return loops_of<Int2Rule>();
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
