#include "quant/codec/int_codec.h"

#include <cmath>

#include "quant/codec/packing.h"
#include "quant/codec/reference_loops.h"
#include "quant/codec/rounding.h"

namespace thinwire::quant {
namespace {

// A signed number of kBits bits from its code.
template <unsigned kBits>
int sign_extend(unsigned code) {
  return static_cast<int>(code) - (code >> (kBits - 1) != 0 ? 1 << kBits : 0);
}

template <unsigned kBits>
unsigned to_code(float integer) {
  return static_cast<unsigned>(static_cast<int>(integer)) & ((1u << kBits) - 1u);
}

template <unsigned kBits>
struct IntRule {
  using Packing = BitPacking<kBits>;
  static constexpr float kTop = (1 << (kBits - 1)) - 1;

  static float scale(std::span<const float> values, Rounding) { return range_scale(values, kTop); }
  static unsigned zero_code() { return 0; }
  static unsigned nearest(float y) { return to_code<kBits>(std::rint(clamp(y, -kTop, kTop))); }
  // In fixed point: vectors then round by one integer sum.
  static unsigned drawn(float y, std::uint32_t draw) {
    const float fixed = std::rint(clamp(y, -kTop, kTop) * static_cast<float>(1 << kFixedBits));
    return static_cast<unsigned>((static_cast<int>(fixed) + static_cast<int>(draw)) >> kFixedBits) &
           ((1u << kBits) - 1u);
  }
  static float level(unsigned code) { return static_cast<float>(sign_extend<kBits>(code)); }
};

struct Int2Rule {
  using Packing = BitPacking<2>;

  static float scale(std::span<const float> values, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return range_scale(values, 3);
    return least_squares_scale(values, kInt2Levels);
  }
  static unsigned zero_code() { return 0; }
  static unsigned nearest(float y) { return to_code<2>(std::rint(position(y))); }
  static unsigned stochastic(float y, float unit) { return to_code<2>(round_by_draw(position(y), unit)); }
  static float level(unsigned code) { return static_cast<float>(2 * sign_extend<2>(code) + 1); }

 private:
  // Level 2q + 1 lies at q.
  static float position(float y) { return 0.5f * clamp(y, -3, 3) - 0.5f; }
};

}  // namespace

constinit const Format kInt8Format = scaled_format<IntRule<8>>("int8", 5);
constinit const Format kInt4Format = scaled_format<IntRule<4>>("int4", 6);
constinit const Format kInt2Format = scaled_format<Int2Rule>("int2", 7);

}  // namespace thinwire::quant
