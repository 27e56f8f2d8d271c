#include "quant/codec/minifloat_codec.h"

#include "quant/codec/minifloat_rule.h"
#include "quant/codec/reference_loops.h"

namespace thinwire::quant {

constinit const Format kE4m3Format = scaled_format<MinifloatRule<4, 3, 7, 126>>("e4m3", 3);
constinit const Format kE5m2Format = scaled_format<MinifloatRule<5, 2, 15, 123>>("e5m2", 4);
constinit const Format kE2m1Format = scaled_format<MinifloatRule<2, 1, 1, 7>>("e2m1", 9);
constinit const Format kE3m0Format = scaled_format<E3m0Rule>("e3m0", 10);

}  // namespace thinwire::quant
