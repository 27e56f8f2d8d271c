// Small floating-point numbers times a scale s: a sign bit, E exponent bits and M mantissa bits from the top.
//
// The magnitude code c (the lower E + M bits) means, with e = c >> M and m = c mod 2^M,
//   m 2^(1 - bias - M) if e = 0, else (2^M + m) 2^(e - bias - M).
// No code means infinity or NaN: codes above the largest sent decode by the same formula. Zero has no sign:
// it is sent with sign bit 0, and decodes to +0 with either.
//
//   name  E  M  bias  largest sent       s
//   e4m3  4  3   7    448     (c = 126)  max|x| / 448
//   e5m2  5  2  15    57344   (c = 123)  max|x| / 57344
//   e2m1  2  1   1    6       (c = 7)    max|x| / 6
//   e3m0  3  0   1    64      (c = 7)    max|x| / 64        levels 0, 1, 2, 4, ... 64
//
// e3m0 is the wire format of Streaming DiLoCo (arXiv 2501.18512), which leaves scale, zero and rounding open.
//
// Error: nearest |x| 2^-(M+1), e3m0 |x|/3; stochastic |x| 2^-M; or, where greater, half or all of the least
// step s 2^(1 - bias - M).
//
// Size: 4 ceil(n/B) + ceil((1 + E + M) n / 8) bytes.
#pragma once

#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kE4m3Format;
extern const Format kE5m2Format;
extern const Format kE2m1Format;
extern const Format kE3m0Format;

}  // namespace thinwire::quant
