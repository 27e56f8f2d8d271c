// A linear layer whose weight may be low-bit. Models make their layers through a LinearFactory, so that a
// task decides what each layer is and a model knows no method.
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

// A plain float32 layer with the parameter "weight" [out, in]. The weight is zero: the model that asked for
// the layer draws the weights of all its layers, so that no layer needs a generator.
std::shared_ptr<Linear> make_float_linear(std::int64_t in, std::int64_t out);

}  // namespace thinwire::quant
