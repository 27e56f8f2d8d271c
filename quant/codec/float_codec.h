// fp32 and bf16: values without a scale.
//
// * fp32: the 4 bytes of the value, any bits.
// * bf16: the upper 2 bytes after rounding, as IEEE casts do: -0, denormals and infinities stay, finite
//   values that round past the largest bf16 become infinity. Error of the others: nearest |x| 2^-8, or 2^-134
//   where greater; stochastic twice that.
//
// Size: 4 n and 2 n bytes.
#pragma once

#include "quant/codec/format.h"

namespace thinwire::quant {

extern const Format kFp32Format;
extern const Format kBf16Format;

}  // namespace thinwire::quant
