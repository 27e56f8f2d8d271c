// The tensors of a model without the model: what a plan counts, at any size, at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/options/model_options.h"

namespace thinwire::trainer {

// A weight of a model: [rows, columns], or [rows] where columns is 0.
struct LayerShape {
  std::string path;  // "blocks.0.attention.q": its parameter is path + ".weight"
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool is_linear = false;  // made by the task's LinearFactory, which may add tensors of its own

  std::int64_t values() const { return rows * (columns == 0 ? 1 : columns); }
};

// The sizes with no zeros left, as make_model settles them. options.vocab must be set. Throws
// std::invalid_argument that names the known archs, or the size that does not fit.
ModelOptions settled_sizes(const ModelOptions& options);

// In the order of the model's parameters. options: settled. Throws std::invalid_argument for a model beyond
// every machine.
std::vector<LayerShape> model_layers(const ModelOptions& options);

}  // namespace thinwire::trainer
