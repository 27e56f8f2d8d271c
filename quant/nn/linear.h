// A linear layer whose weight may be low-bit.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>

namespace thinwire::quant {

class Linear : public torch::nn::Module {
 public:
  // x: float [..., in] -> [..., out]. No bias.
  virtual at::Tensor forward(const at::Tensor& x) = 0;
};

// A plain float32 layer with the parameter "weight" [out, in]. The weight is zero: the model that asked for
// the layer draws the weights of all its layers, so that no layer needs a generator.
std::shared_ptr<Linear> make_float_linear(std::int64_t in, std::int64_t out);

}  // namespace thinwire::quant
