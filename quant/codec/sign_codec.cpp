#include "quant/codec/sign_codec.h"

#include <cmath>

#include "quant/codec/packing.h"
#include "quant/codec/reference_loops.h"

namespace thinwire::quant {
namespace {

struct SignRule {
  using Packing = BitPacking<1>;

  static float scale(std::span<const float> values, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return exact_range_scale(values, 1);
    return least_squares_scale(values, kSignLevels);
  }
  static unsigned zero_code() { return 0; }
  static unsigned nearest(float y) { return std::signbit(y); }
  static unsigned stochastic(float y, float unit) { return unit < 0.5f * y + 0.5f ? 0 : 1; }
  static float level(unsigned code) { return code != 0 ? -1.0f : 1.0f; }
};

}  // namespace

constinit const Format kSignFormat = scaled_format<SignRule>("sign", 12);

}  // namespace thinwire::quant
