#include "quant/codec/sign_codec.h"

#include "quant/codec/reference_loops.h"
#include "quant/codec/sign_rule.h"

namespace thinwire::quant {

constinit const Format kSignFormat = scaled_format<SignRule>("sign", 12);

}  // namespace thinwire::quant
