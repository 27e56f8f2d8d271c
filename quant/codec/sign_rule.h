// sign: how a quotient becomes a code and back (see reference_loops.h).
#pragma once

#include <cmath>

#include "quant/codec/codec.h"
#include "quant/codec/host_device.h"
#include "quant/codec/packing.h"
#include "quant/codec/sign_codec.h"

namespace thinwire::quant {

struct SignRule {
  using Packing = BitPacking<1>;

  template <class Block>
  THINWIRE_HOST_DEVICE static float scale(const Block& values, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return exact_range_scale(values, 1);
    constexpr TwoLevels levels = kSignLevels;  // a copy that device code may refer to
    return least_squares_scale(values, levels);
  }
  THINWIRE_HOST_DEVICE static unsigned zero_code() { return 0; }
  THINWIRE_HOST_DEVICE static unsigned nearest(float y) { return std::signbit(y) ? 1 : 0; }
  THINWIRE_HOST_DEVICE static unsigned stochastic(float y, float unit) {
    return unit < 0.5f * y + 0.5f ? 0 : 1;
  }
  THINWIRE_HOST_DEVICE static float level(unsigned code) { return code != 0 ? -1.0f : 1.0f; }
};

}  // namespace thinwire::quant
