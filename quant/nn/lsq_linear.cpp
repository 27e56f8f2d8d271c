#include "quant/nn/lsq_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "quant/nn/lsq_quantizer.h"

namespace thinwire::quant {
namespace {

// Codes are stored from zero on.
std::int64_t code_offset(int bits) {
  return std::int64_t{1} << (bits - 1);
}

void clamp_step(at::Tensor& step, at::Tensor& clamped) {
  const at::Tensor below = step.lt(kMinLsqStep);
  if (!below.any().item<bool>()) return;
  clamped = clamped.defined() ? clamped.logical_or(below) : below;
  step.clamp_min_(kMinLsqStep);
}

std::int64_t take_count(at::Tensor& clamped) {
  const at::Tensor taken = std::exchange(clamped, {});
  return taken.defined() ? taken.sum().item<std::int64_t>() : 0;
}

void check_bits(const LsqOptions& options) {
  const int weight = options.weight_bits;
  TORCH_CHECK_VALUE(weight == 0 || weight == 2 || weight == 4 || weight == 8,
                    "an LSQ weight has 2, 4 or 8 bits, or 0 for float; found ", weight);
  if (options.activation_bits != 0) lsq_range(options.activation_bits);
}

}  // namespace

LsqLinear::LsqLinear(std::int64_t in, std::int64_t out, const LsqOptions& options)
    : options_(options), weight_(register_parameter("weight", at::zeros({out, in}))) {
  check_bits(options);
  if (options.weight_bits > 0) {
    weight_step_ = register_parameter("weight_step", at::full({out}, kMinLsqStep));
  }
  if (options.activation_bits > 0) activation_step_ = register_parameter("activation_step", at::ones({1}));
}

at::Tensor LsqLinear::quantized_weight() const {
  if (options_.weight_bits == 0) return weight_;
  return lsq_fake_quantize(weight_, weight_step_.unsqueeze(1), options_.weight_bits, weight_.size(1));
}

at::Tensor LsqLinear::forward(const at::Tensor& x) {
  if (options_.activation_bits == 0) return at::linear(x, quantized_weight());
  if (calibrating_) {
    const at::NoGradGuard no_grad;
    activation_step_.copy_(lsq_initial_step(x, options_.activation_bits));
    calibrating_ = false;
  }
  return at::linear(lsq_fake_quantize(x, activation_step_, options_.activation_bits, x.size(-1)),
                    quantized_weight());
}

at::Tensor LsqLinear::effective_weight() const {
  return quantized_weight().detach().clone();
}

std::vector<std::pair<std::string, at::Tensor>> LsqLinear::packed() const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  if (options_.weight_bits > 0) {
    const at::Tensor codes =
        lsq_codes(weight_.detach(), weight_step_.detach().unsqueeze(1), options_.weight_bits);
    tensors.emplace_back(
        "codes", pack_rows(codes.to(at::kShort) + code_offset(options_.weight_bits), options_.weight_bits));
    tensors.emplace_back("weight_step", lsq_effective_step(weight_step_.detach()));
  } else {
    tensors.emplace_back("weight", weight_.detach().clone());
  }
  if (options_.activation_bits > 0)
    tensors.emplace_back("activation_step", lsq_effective_step(activation_step_.detach()));
  return tensors;
}

void LsqLinear::start_weight_steps() {
  const at::NoGradGuard no_grad;
  if (options_.weight_bits > 0) weight_step_.copy_(lsq_initial_row_steps(weight_, options_.weight_bits));
}

void LsqLinear::clamp_steps() {
  const at::NoGradGuard no_grad;
  if (options_.weight_bits > 0) clamp_step(weight_step_, weight_step_clamped_);
  if (options_.activation_bits > 0) clamp_step(activation_step_, activation_step_clamped_);
}

std::int64_t LsqLinear::take_clamped_steps() {
  return take_count(weight_step_clamped_) + take_count(activation_step_clamped_);
}

PackedLsqLinear::PackedLsqLinear(std::int64_t in, std::int64_t out, const LsqOptions& options)
    : options_(options), in_(in) {
  check_bits(options);
  if (options.weight_bits > 0) {
    const at::Tensor no_codes = at::zeros({out, in}, at::kByte);
    codes_ = register_buffer("codes", pack_rows(no_codes, options.weight_bits));
    weight_step_ = register_buffer("weight_step", at::ones({out}));
  } else {
    weight_ = register_buffer("weight", at::zeros({out, in}));
  }
  if (options.activation_bits > 0) activation_step_ = register_buffer("activation_step", at::ones({1}));
}

at::Tensor PackedLsqLinear::effective_weight() const {
  if (options_.weight_bits == 0) return weight_.clone();
  const at::Tensor stored = unpack_rows(codes_, options_.weight_bits, in_);
  const at::Tensor codes = (stored.to(at::kShort) - code_offset(options_.weight_bits)).to(at::kChar);
  return lsq_dequantize(codes, weight_step_.unsqueeze(1));
}

at::Tensor PackedLsqLinear::forward(const at::Tensor& x) {
  if (options_.activation_bits == 0) return at::linear(x, effective_weight());
  const at::Tensor codes = lsq_codes(x, activation_step_, options_.activation_bits);
  return at::linear(lsq_dequantize(codes, activation_step_), effective_weight());
}

std::vector<std::pair<std::string, at::Tensor>> PackedLsqLinear::packed() const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, tensor] : named_buffers(/*recurse=*/false).pairs())
    tensors.emplace_back(name, name.ends_with("_step") ? lsq_effective_step(tensor) : tensor);
  return tensors;
}

}  // namespace thinwire::quant
