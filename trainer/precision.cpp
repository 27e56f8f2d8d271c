#include "trainer/precision.h"

#include <ATen/autocast_mode.h>

#include <stdexcept>

namespace thinwire::trainer {

PrecisionScope::PrecisionScope(const std::string& precision)
    : was_enabled_(at::autocast::is_autocast_enabled(at::kCPU)),
      was_cached_(at::autocast::is_autocast_cache_enabled()) {
  if (precision != "float32" && precision != "bfloat16") {
    throw std::invalid_argument("inner.precision: expected float32 or bfloat16, found '" + precision + "'");
  }
  at::autocast::set_autocast_enabled(at::kCPU, precision == "bfloat16");
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  // The cache of casts is one for the whole process, and no weight is used twice in a forward pass.
  at::autocast::set_autocast_cache_enabled(false);
}

PrecisionScope::~PrecisionScope() {
  at::autocast::set_autocast_enabled(at::kCPU, was_enabled_);
  at::autocast::set_autocast_cache_enabled(was_cached_);
}

}  // namespace thinwire::trainer
