// The small scalar steps that several formats share.
#pragma once

#include <cmath>

#include "quant/codec/host_device.h"

namespace thinwire::quant {

// NaN gives low.
THINWIRE_HOST_DEVICE inline float clamp(float y, float low, float high) {
  const float at_most_high = y < high ? y : high;
  return at_most_high > low ? at_most_high : low;
}

// The integer below y or the one above, the latter with probability y - floor(y); unit is the draw.
THINWIRE_HOST_DEVICE inline float round_by_draw(float y, float unit) {
  const float below = std::floor(y);
  return unit < y - below ? below + 1.0f : below;
}

}  // namespace thinwire::quant
