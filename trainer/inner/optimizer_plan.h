// What an inner optimiser holds, told by sizes alone.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/options/inner_options.h"
#include "trainer/task/task_tensors.h"

namespace thinwire::trainer {

// float32 values beside those of the tensors that train. Throws std::invalid_argument for an unknown
// optimiser.
std::int64_t optimizer_values(const InnerOptions& options, const std::vector<TensorShape>& tensors);

}  // namespace thinwire::trainer
