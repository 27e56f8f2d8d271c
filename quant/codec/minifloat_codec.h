// Small floating-point numbers times a scale: a sign bit, E exponent bits, M mantissa bits, in this order
// from the top. The magnitude code c (the lower E + M bits) means, with e = c >> M and m = c mod 2^M,
//   m 2^(1 - bias - M) if e = 0, else (2^M + m) 2^(e - bias - M).
// No code means infinity or NaN: codes above the largest sent decode by the same formula. A value that rounds
// to magnitude 0 has sign 0.
//
//   name  E  M  bias  largest sent       s
//   e4m3  4  3   7    448     (c = 126)  max|x| / 448
//   e5m2  5  2  15    57344   (c = 123)  max|x| / 57344
//   e2m1  2  1   1    6       (c = 7)    max|x| / 6
//   e3m0  3  0   1    64      (c = 7)    max|x| / 64        levels 0, 1, 2, 4, ... 64
//
// e3m0 is the wire format of Streaming DiLoCo (arXiv 2501.18512), which leaves scale, zero and rounding open.
// Error relative to |x|: 2^-(M+1) nearest, 2^-M stochastic; below the least level with e = 1 instead half of,
// or the whole step 2^(1 - bias - M) s. With M = 0: |x|/3 nearest, |x| stochastic, and s/2 or s below s.
// Size: 4 ceil(n/B) + ceil((1 + E + M) n / 8) bytes.
#pragma once

#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kE4m3Format;
extern const Format kE5m2Format;
extern const Format kE2m1Format;
extern const Format kE3m0Format;

}  // namespace thinwire::quant
