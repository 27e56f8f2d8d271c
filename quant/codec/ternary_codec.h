// ternary: -s, 0 or s, five values a byte (packing.h). Digits: 0 is 0, 1 is +s, 2 is -s.
// To nearest, s is the mean of the magnitudes above 0.75 times the block's mean magnitude (Ternary Weight
// Networks, arXiv 1605.04711, has 0.7), which nearly minimises the squared error; values beyond s are cut
// off. Stochastic, where the levels must cover the block, s = max|x|. Error: nearest s/2 or, beyond s, |x| -
// s; stochastic s. Size: 4 ceil(n/B) bytes and ceil(m/5) for each block of m values.
#pragma once

#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kTernaryFormat;

}  // namespace thinwire::quant
