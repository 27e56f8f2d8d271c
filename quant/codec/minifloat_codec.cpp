#include "quant/codec/minifloat_codec.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "quant/codec/block_scale.h"
#include "quant/codec/packing.h"
#include "quant/codec/reference_loops.h"
#include "quant/codec/rounding.h"

namespace thinwire::quant {
namespace {

constexpr float power_of_two(int exponent) {
  float power = 1;
  for (; exponent > 0; --exponent) power *= 2;
  for (; exponent < 0; ++exponent) power /= 2;
  return power;
}

template <unsigned kExponentBits, unsigned kMantissaBits, int kBias, unsigned kMaxCode>
struct MinifloatRule {
  static constexpr unsigned kMagnitudeBits = kExponentBits + kMantissaBits;
  using Packing = BitPacking<kMagnitudeBits + 1>;

  static constexpr float magnitude_of(unsigned code) {
    const unsigned exponent = code >> kMantissaBits;
    const unsigned mantissa = code & ((1u << kMantissaBits) - 1u);
    if (exponent == 0) return static_cast<float>(mantissa) * power_of_two(1 - kBias - int{kMantissaBits});
    return static_cast<float>((1u << kMantissaBits) + mantissa) *
           power_of_two(static_cast<int>(exponent) - kBias - int{kMantissaBits});
  }

  static constexpr auto kMagnitudes = [] {
    std::array<float, (1u << kMagnitudeBits)> magnitudes{};
    for (unsigned code = 0; code < magnitudes.size(); ++code) magnitudes[code] = magnitude_of(code);
    return magnitudes;
  }();
  static constexpr float kTop = kMagnitudes[kMaxCode];

  static float scale(std::span<const float> values, Rounding) {
    // 64 is a power of two: s = max / 64 is exact, and so is every product with it.
    return kMantissaBits == 0 ? exact_range_scale(values, kTop) : range_scale(values, kTop);
  }
  static unsigned zero_code() { return 0; }

  static unsigned nearest(float y) {
    const float a = clamp(std::fabs(y), 0, kTop);
    const unsigned below = code_below(a);
    const float middle = 0.5f * (kMagnitudes[below] + kMagnitudes[below + 1]);
    return with_sign(y, a > middle || (a == middle && below % 2 == 1) ? below + 1 : below);
  }
  static unsigned stochastic(float y, float unit) {
    const float a = clamp(std::fabs(y), 0, kTop);
    const unsigned below = code_below(a);
    const float step = kMagnitudes[below + 1] - kMagnitudes[below];
    return with_sign(y, unit * step < a - kMagnitudes[below] ? below + 1 : below);
  }
  static float level(unsigned code) {
    const float magnitude = kMagnitudes[code & ((1u << kMagnitudeBits) - 1u)];
    return code >> kMagnitudeBits != 0 && magnitude != 0 ? -magnitude : magnitude;
  }

 private:
  // The largest code below kMaxCode whose magnitude is at most a.
  static unsigned code_below(float a) {
    const auto above = std::upper_bound(kMagnitudes.begin(), kMagnitudes.begin() + kMaxCode, a);
    return static_cast<unsigned>(above - kMagnitudes.begin()) - 1;
  }
  static unsigned with_sign(float y, unsigned magnitude_code) {
    return y < 0 && magnitude_code != 0 ? magnitude_code | 1u << kMagnitudeBits : magnitude_code;
  }
};

}  // namespace

constinit const Format kE4m3Format = scaled_format<MinifloatRule<4, 3, 7, 126>>("e4m3", 3);
constinit const Format kE5m2Format = scaled_format<MinifloatRule<5, 2, 15, 123>>("e5m2", 4);
constinit const Format kE2m1Format = scaled_format<MinifloatRule<2, 1, 1, 7>>("e2m1", 9);
constinit const Format kE3m0Format = scaled_format<MinifloatRule<3, 0, 1, 7>>("e3m0", 10);

}  // namespace thinwire::quant
