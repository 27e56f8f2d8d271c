// int8, int4, int2: how a quotient becomes a code and back (see reference_loops.h).
#pragma once

#include <cmath>

#include "quant/codec/codec.h"
#include "quant/codec/host_device.h"
#include "quant/codec/int_codec.h"
#include "quant/codec/packing.h"
#include "quant/codec/rounding.h"
#include "quant/codec/stochastic.h"

namespace thinwire::quant {

// kBits of two's complement.
template <unsigned kBits>
THINWIRE_HOST_DEVICE inline int sign_extend(unsigned code) {
  return static_cast<int>(code) - (code >> (kBits - 1) != 0 ? 1 << kBits : 0);
}

template <unsigned kBits>
THINWIRE_HOST_DEVICE inline unsigned to_code(float integer) {
  return static_cast<unsigned>(static_cast<int>(integer)) & ((1u << kBits) - 1u);
}

template <unsigned kBits>
struct IntRule {
  using Packing = BitPacking<kBits>;
  static constexpr float kTop = (1 << (kBits - 1)) - 1;

  template <class Block>
  THINWIRE_HOST_DEVICE static float scale(const Block& values, Rounding) {
    return range_scale(values, kTop);
  }
  THINWIRE_HOST_DEVICE static unsigned zero_code() { return 0; }
  THINWIRE_HOST_DEVICE static unsigned nearest(float y) {
    return to_code<kBits>(std::rint(clamp(y, -kTop, kTop)));
  }
  // In fixed point: vectors then round by one integer sum.
  THINWIRE_HOST_DEVICE static unsigned drawn(float y, std::uint32_t draw) {
    const float fixed = std::rint(clamp(y, -kTop, kTop) * static_cast<float>(1 << kFixedBits));
    return static_cast<unsigned>((static_cast<int>(fixed) + static_cast<int>(draw)) >> kFixedBits) &
           ((1u << kBits) - 1u);
  }
  THINWIRE_HOST_DEVICE static float level(unsigned code) {
    return static_cast<float>(sign_extend<kBits>(code));
  }
};

struct Int2Rule {
  using Packing = BitPacking<2>;

  template <class Block>
  THINWIRE_HOST_DEVICE static float scale(const Block& values, Rounding rounding) {
    if (rounding == Rounding::kStochastic) return range_scale(values, 3);
    constexpr TwoLevels levels = kInt2Levels;  // a copy that device code may refer to
    return least_squares_scale(values, levels);
  }
  THINWIRE_HOST_DEVICE static unsigned zero_code() { return 0; }
  THINWIRE_HOST_DEVICE static unsigned nearest(float y) { return to_code<2>(std::rint(position(y))); }
  THINWIRE_HOST_DEVICE static unsigned stochastic(float y, float unit) {
    return to_code<2>(round_by_draw(position(y), unit));
  }
  THINWIRE_HOST_DEVICE static float level(unsigned code) {
    return static_cast<float>(2 * sign_extend<2>(code) + 1);
  }

 private:
  // Level 2q + 1 lies at q.
  THINWIRE_HOST_DEVICE static float position(float y) { return 0.5f * clamp(y, -3, 3) - 0.5f; }
};

}  // namespace thinwire::quant
