// ternary: -s, 0 or s, five values a byte (packing.h). Digit 0 is 0, digit 1 is +s, digit 2 is -s.
//
// To nearest, s is the mean of the magnitudes above 0.75 times the block's mean magnitude, but at least
// max|x| / 2, and then rounded to 16 bits; values beyond s are cut off. (Ternary Weight Networks, arXiv
// 1605.04711, splits at 0.7.) Stochastic, the levels must cover the block: s = max|x|.
//
// Error: nearest s/2 or beyond s |x| - s; stochastic s.
//
// Size: 4 ceil(n/B) bytes, and ceil(m/5) for each block of m values.
#pragma once

#include "quant/codec/block_scale.h"
#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kTernaryFormat;

// Of the scale that fits a block when rounding to nearest.
inline constexpr TwoLevels kTernaryLevels = {.split = 0.75f, .low = 0, .high = 1, .cover = 0.5f};

}  // namespace thinwire::quant
