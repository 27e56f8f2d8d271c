#include "quant/codec/nf4_codec.h"

#include <algorithm>

#include "quant/codec/block_scale.h"
#include "quant/codec/packing.h"
#include "quant/codec/reference_loops.h"
#include "quant/codec/rounding.h"

namespace thinwire::quant {

namespace {

struct Nf4Rule {
  using Packing = BitPacking<4>;

  static float scale(std::span<const float> values, Rounding) { return exact_range_scale(values, 1); }
  static unsigned zero_code() { return 7; }
  static unsigned nearest(float y) {
    y = clamp(y, -1, 1);
    const unsigned below = code_below(y);
    const float middle = 0.5f * (kNf4Levels[below] + kNf4Levels[below + 1]);
    return y > middle || (y == middle && below % 2 == 1) ? below + 1 : below;
  }
  static unsigned stochastic(float y, float unit) {
    y = clamp(y, -1, 1);
    const unsigned below = code_below(y);
    const float step = kNf4Levels[below + 1] - kNf4Levels[below];
    return unit * step < y - kNf4Levels[below] ? below + 1 : below;
  }
  static float level(unsigned code) { return kNf4Levels[code]; }

 private:
  // The largest code below 15 whose level is at most y; y in [-1, 1].
  static unsigned code_below(float y) {
    const auto above = std::upper_bound(kNf4Levels.begin(), kNf4Levels.end() - 1, y);
    return static_cast<unsigned>(above - kNf4Levels.begin()) - 1;
  }
};

}  // namespace

constinit const Format kNf4Format = scaled_format<Nf4Rule>("nf4", 8);

}  // namespace thinwire::quant
