// When an outer method exchanges, and what it holds; the methods stand in trainer/outer/registry.cpp.
#pragma once

#include <cstdint>

#include "trainer/options/outer_options.h"
#include "trainer/outer/flat_parameters.h"

namespace thinwire::trainer {

struct Rhythm {
  std::int64_t period = 0;  // steps between two sends of a fragment; 0: nothing is ever sent
  FragmentLayout layout = FragmentLayout::kWhole;
  bool sends_at_last_step = true;  // where a period ends with it
  bool syncs_at_the_end = false;   // every fragment that was not sent at the last step
  int flat_buffers = 0;            // float32, of all parameters, beside the live ones and residuals
};

// Throws std::invalid_argument for an unknown method.
Rhythm rhythm_of(const OuterOptions& options);

}  // namespace thinwire::trainer
