#include "quant/nn/linear.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

namespace thinwire::quant {
namespace {

class FloatLinear final : public Linear {
 public:
  FloatLinear(std::int64_t in, std::int64_t out)
      : weight_(register_parameter("weight", at::zeros({out, in}))) {}

  at::Tensor forward(const at::Tensor& x) override { return at::linear(x, weight_); }

 private:
  at::Tensor weight_;  // float32 [out, in]
};

}  // namespace

std::shared_ptr<Linear> make_float_linear(std::int64_t in, std::int64_t out) {
  return std::make_shared<FloatLinear>(in, out);
}

}  // namespace thinwire::quant
