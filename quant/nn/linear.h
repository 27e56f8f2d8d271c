// A linear layer whose weight may be low-bit. Models make their layers through a LinearFactory, so that a task
// decides what each layer is and a model knows no method.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace thinwire::quant {

class Linear : public torch::nn::Module {
 public:
  // x: float [..., in] -> [..., out]. No bias.
  virtual at::Tensor forward(const at::Tensor& x) = 0;
};

// name: the layer's full path in the model, e.g. "blocks.3.attention.q". in, out: features.
using LinearFactory =
    std::function<std::shared_ptr<Linear>(const std::string& name, std::int64_t in, std::int64_t out)>;

// A plain float32 layer, weight [out, in] drawn from N(0, std) with the default generator.
std::shared_ptr<Linear> make_float_linear(std::int64_t in, std::int64_t out, double std = 0.02);

}  // namespace thinwire::quant
