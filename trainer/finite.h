// Whether numbers are numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace thinwire::trainer {

// Index of the first value that is NaN or infinite, in the tensor's order; nothing for a tensor of another
// dtype than float32, or one without a storage.
std::optional<std::int64_t> first_nonfinite(const at::Tensor& tensor);

// "blocks.0.mlp.up.weight[5] is NaN": the first such value of the first of the tensors that has one.
std::optional<std::string> describe_nonfinite(const std::vector<std::pair<std::string, at::Tensor>>& tensors);

}  // namespace thinwire::trainer
