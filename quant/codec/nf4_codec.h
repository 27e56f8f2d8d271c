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
inline constexpr std::array<float, 16> kNf4Levels = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

}  // namespace thinwire::quant
