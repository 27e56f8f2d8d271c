#include "quant/nn/lsq_quantizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace thinwire::quant {
namespace {

at::Tensor initial_step(const at::Tensor& mean_magnitude, int bits) {
  return lsq_effective_step(mean_magnitude * (2 / std::sqrt(lsq_range(bits).highest)));
}

class LsqFunction : public torch::autograd::Function<LsqFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& v,
                            const at::Tensor& step, int bits, double gradient_scale) {
    context->save_for_backward({v, step});
    context->saved_data["bits"] = bits;
    context->saved_data["gradient_scale"] = gradient_scale;
    return lsq_dequantize(lsq_codes(v, step, bits), step);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor& gradient = gradients[0];
    const at::Tensor& step = saved[1];
    const auto [lowest, highest] = lsq_range(static_cast<int>(context->saved_data["bits"].toInt()));
    const at::Tensor ratio = saved[0] / lsq_effective_step(step);
    const at::Tensor inside = ratio.gt(lowest).logical_and_(ratio.lt(highest));
    const at::Tensor by_step = at::where(inside, ratio.round() - ratio, ratio.clamp(lowest, highest));
    const double scale = context->saved_data["gradient_scale"].toDouble();
    return {gradient * inside, (gradient * by_step).sum_to_size(step.sizes()) * scale, {}, {}};
  }
};

}  // namespace

at::Tensor lsq_effective_step(const at::Tensor& step) {
  return step.clamp_min(kMinLsqStep);
}

LsqRange lsq_range(int bits) {
  TORCH_CHECK(bits >= 2 && bits <= 8, "LSQ expects 2 to 8 bits, found ", bits);
  const double levels = std::ldexp(1.0, bits - 1);
  return {-levels, levels - 1};
}

at::Tensor lsq_codes(const at::Tensor& v, const at::Tensor& step, int bits) {
  const auto [lowest, highest] = lsq_range(bits);
  return (v / lsq_effective_step(step)).clamp_(lowest, highest).round_().to(at::kChar);
}

at::Tensor lsq_dequantize(const at::Tensor& codes, const at::Tensor& step) {
  return codes.to(at::kFloat).mul_(lsq_effective_step(step));
}

at::Tensor lsq_fake_quantize(const at::Tensor& v, const at::Tensor& step, int bits,
                             std::int64_t values_per_step) {
  const double gradient_scale = 1 / std::sqrt(static_cast<double>(values_per_step) * lsq_range(bits).highest);
  return LsqFunction::apply(v, step, bits, gradient_scale);
}

at::Tensor lsq_initial_step(const at::Tensor& v, int bits) {
  return initial_step(v.detach().to(at::kFloat).abs().mean().unsqueeze(0), bits);
}

at::Tensor lsq_initial_row_steps(const at::Tensor& matrix, int bits) {
  return initial_step(matrix.detach().to(at::kFloat).abs().mean(1), bits);
}

}  // namespace thinwire::quant
