#include "quant/nn/sign_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

namespace thinwire::quant {
namespace {

class SignFunction : public torch::autograd::Function<SignFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& w) {
    context->save_for_backward({w});
    return sign_dequantize(sign_bits(w), sign_scale(w));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor w = context->get_saved_variables()[0];
    return {gradients[0] * w.abs().le(1)};
  }
};

}  // namespace

at::Tensor sign_bits(const at::Tensor& v) {
  return v.ge(0);
}

at::Tensor sign_scale(const at::Tensor& w) {
  return w.abs().mean(1, /*keepdim=*/true);
}

at::Tensor sign_dequantize(const at::Tensor& bits, const at::Tensor& scale) {
  return at::where(bits, scale, -scale);
}

at::Tensor sign_fake_quantize(const at::Tensor& w) {
  return SignFunction::apply(w);
}

SignLinear::SignLinear(std::int64_t in, std::int64_t out)
    : weight_(register_parameter("weight", at::zeros({out, in}))) {}

at::Tensor SignLinear::forward(const at::Tensor& x) {
  return at::linear(x, sign_fake_quantize(weight_));
}

at::Tensor SignLinear::effective_weight() const {
  return sign_dequantize(sign_bits(weight_.detach()), sign_scale(weight_.detach()));
}

std::vector<std::pair<std::string, at::Tensor>> SignLinear::packed() const {
  return {{"codes", pack_rows(sign_bits(weight_.detach()), 1)}, {"scale", sign_scale(weight_.detach())}};
}

PackedSignLinear::PackedSignLinear(std::int64_t in, std::int64_t out)
    : in_(in),
      codes_(register_buffer("codes", pack_rows(at::zeros({out, in}, at::kByte), 1))),
      scale_(register_buffer("scale", at::zeros({out, 1}))) {}

at::Tensor PackedSignLinear::effective_weight() const {
  return sign_dequantize(unpack_rows(codes_, 1, in_).to(at::kBool), scale_);
}

at::Tensor PackedSignLinear::forward(const at::Tensor& x) {
  return at::linear(x, effective_weight());
}

std::vector<std::pair<std::string, at::Tensor>> PackedSignLinear::packed() const {
  return {{"codes", codes_}, {"scale", scale_}};
}

}  // namespace thinwire::quant
