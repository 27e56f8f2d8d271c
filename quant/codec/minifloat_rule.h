// Minifloats: how a quotient becomes a code and back (see reference_loops.h).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "quant/codec/block_scale.h"
#include "quant/codec/codec.h"
#include "quant/codec/host_device.h"
#include "quant/codec/packing.h"
#include "quant/codec/rounding.h"

namespace thinwire::quant {

template <unsigned kExponentBits, unsigned kMantissaBits, int kBias, unsigned kMaxCode>
struct MinifloatRule {
  static constexpr unsigned kMagnitudeBits = kExponentBits + kMantissaBits;
  using Packing = BitPacking<kMagnitudeBits + 1>;

  THINWIRE_HOST_DEVICE static constexpr float magnitude(unsigned code) {
    const unsigned exponent = code >> kMantissaBits;
    const unsigned mantissa = code & ((1u << kMantissaBits) - 1u);
    const unsigned integer = exponent == 0 ? mantissa : (1u << kMantissaBits) + mantissa;
    const int power = static_cast<int>(exponent == 0 ? 1 : exponent) - kBias - int{kMantissaBits};
    return static_cast<float>(integer) * std::bit_cast<float>(static_cast<std::uint32_t>(power + 127) << 23);
  }
  static constexpr float kTop = magnitude(kMaxCode);

  template <class Block>
  THINWIRE_HOST_DEVICE static float scale(const Block& values, Rounding) {
    // 64 is a power of two: s = max / 64 is exact, and so is every product with it.
    return kMantissaBits == 0 ? exact_range_scale(values, kTop) : range_scale(values, kTop);
  }
  THINWIRE_HOST_DEVICE static unsigned zero_code() { return 0; }

  THINWIRE_HOST_DEVICE static unsigned nearest(float y) {
    const float a = clamp(std::fabs(y), 0, kTop);
    const unsigned below = code_below(a);
    const float middle = 0.5f * (magnitude(below) + magnitude(below + 1));
    return with_sign(y, a > middle || (a == middle && below % 2 == 1) ? below + 1 : below);
  }
  THINWIRE_HOST_DEVICE static unsigned stochastic(float y, float unit) {
    const float a = clamp(std::fabs(y), 0, kTop);
    const unsigned below = code_below(a);
    const float step = magnitude(below + 1) - magnitude(below);
    return with_sign(y, unit * step < a - magnitude(below) ? below + 1 : below);
  }
  THINWIRE_HOST_DEVICE static float level(unsigned code) {
    const float a = magnitude(code & ((1u << kMagnitudeBits) - 1u));
    return code >> kMagnitudeBits != 0 && a != 0 ? -a : a;
  }

 private:
  // The largest code below kMaxCode whose magnitude is at most a: its bits, from the highest down.
  THINWIRE_HOST_DEVICE static unsigned code_below(float a) {
    unsigned below = 0;
    for (unsigned bit = 1u << (kMagnitudeBits - 1); bit > 0; bit /= 2) {
      if (below + bit < kMaxCode && magnitude(below + bit) <= a) below += bit;
    }
    return below;
  }
  THINWIRE_HOST_DEVICE static unsigned with_sign(float y, unsigned magnitude_code) {
    return y < 0 && magnitude_code != 0 ? magnitude_code | 1u << kMagnitudeBits : magnitude_code;
  }
};

using E3m0Rule = MinifloatRule<3, 0, 1, 7>;

}  // namespace thinwire::quant
