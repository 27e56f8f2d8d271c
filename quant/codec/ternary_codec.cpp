#include "quant/codec/ternary_codec.h"

#include <cmath>

#include "quant/codec/packing.h"
#include "quant/codec/reference_loops.h"
#include "quant/codec/rounding.h"

namespace thinwire::quant {
namespace {

struct TernaryRule {
  using Packing = TernaryPacking;

  static float scale(std::span<const float> values, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return exact_range_scale(values, 1);
    return least_squares_scale(values, kTernaryLevels);
  }
  static unsigned zero_code() { return 0; }
  static unsigned nearest(float y) { return digit(std::rint(clamp(y, -1, 1))); }
  static unsigned stochastic(float y, float unit) { return digit(round_by_draw(clamp(y, -1, 1), unit)); }
  static float level(unsigned code) { return code == 2 ? -1.0f : static_cast<float>(code); }

 private:
  static unsigned digit(float sign) { return sign < 0 ? 2 : sign > 0; }
};

}  // namespace

constinit const Format kTernaryFormat = scaled_format<TernaryRule>("ternary", 11);

}  // namespace thinwire::quant
