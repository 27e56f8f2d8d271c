// nf4: the 16 normal quantiles of QLoRA (arXiv 2305.14314), times s = max|x| of the block.
//
// The levels are those of its reference code, rounded to float32. Code 0 is -1, code 7 zero, code 15 is +1.
// The border between codes i and i + 1 is (level[i] + level[i+1]) / 2 in float32; on it the even code wins.
//
// Error: half the gap between the levels around x/s, times s; stochastic the whole. The widest gap is 0.3039.
//
// Size: 4 ceil(n/B) + ceil(n/2) bytes.
#pragma once

#include <array>

#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kNf4Format;

// Ascending; entry i is the level of code i.
extern const std::array<float, 16> kNf4Levels;

}  // namespace thinwire::quant
