// sign: one bit a value, 1 for -s and 0 for +s.
//
// To nearest, s = mean|x| of the block, which minimises the squared error, and the bit is the value's own
// sign bit: +0 becomes +s, -0 becomes -s. Stochastic, -s..s must cover the block: s = max|x|, and x becomes
// +s with probability (1 + x/s) / 2: a zero of either sign +s or -s, evenly.
//
// Error: nearest | |x| - s |; stochastic 2s.
//
// Size: 4 ceil(n/B) + ceil(n/8) bytes.
#pragma once

#include "quant/codec/block_scale.h"
#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kSignFormat;

// Of the scale that fits a block when rounding to nearest.
inline constexpr TwoLevels kSignLevels = {.split = 0, .low = 1, .high = 1, .cover = 0};

}  // namespace thinwire::quant
