// int8, int4, int2: signed integers times a scale s, in two's complement.
//
// * int8: -127..127, s = max|x| / 127. int4: -7..7, s = max|x| / 7. (-128 and -8 decode, but are never sent.)
// * int2: the levels -3, -1, 1, 3, written 2q + 1 with q in -2..1. There is no level 0: zeros become +s, or
//   stochastically +s or -s.
//   To nearest, s fits the block by least squares (split at 1.25 mean|x|), but is at least max|x| / 6, then
//   rounded to 16 bits: large values are cut off for the good of the many. Stochastic, the levels must cover
//   the block: s = max|x| / 3.
//
// Rounding int8 and int4 stochastically, y = x * (1/s) becomes a multiple of 2^-15, to which a draw below 1
// is added before the fraction is cut off: the expected error is at most 2^-15 s.
//
// Error: nearest s/2 (int8, int4), s or beyond 3s |x| - 3s (int2); stochastic s (int8, int4), 2s (int2).
//
// Size: 4 ceil(n/B) + ceil(bits n / 8) bytes.
#pragma once

#include "quant/codec/block_scale.h"
#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kInt8Format;
extern const Format kInt4Format;
extern const Format kInt2Format;

// Of the scale that fits a block when rounding to nearest.
inline constexpr TwoLevels kInt2Levels = {.split = 1.25f, .low = 1, .high = 3, .cover = 0.5f};

}  // namespace thinwire::quant
