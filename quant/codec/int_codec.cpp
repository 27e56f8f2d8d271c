#include "quant/codec/int_codec.h"

#include "quant/codec/int_rule.h"
#include "quant/codec/reference_loops.h"

namespace thinwire::quant {

constinit const Format kInt8Format = scaled_format<IntRule<8>>("int8", 5);
constinit const Format kInt4Format = scaled_format<IntRule<4>>("int4", 6);
constinit const Format kInt2Format = scaled_format<Int2Rule>("int2", 7);

}  // namespace thinwire::quant
