// nf4: the 16 quantiles of a normal distribution of QLoRA (arXiv 2305.14314), times s = max|x| of the block.
// Levels as in its reference code, rounded to float32 (nf4_levels); code 7 is zero, code 0 is -1, code 15 is
// +1. The boundary between codes i and i + 1 is (level[i] + level[i+1]) / 2 computed in float32; on it the
// even code wins. Error: half of, or stochastic the whole, gap around x/s times s; the widest gap is 0.3039.
// Size: 4 ceil(n/B) + ceil(n/2) bytes.
#pragma once

#include <array>

#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kNf4Format;

// Ascending; entry i is the level of code i.
extern const std::array<float, 16> kNf4Levels;

}  // namespace thinwire::quant
