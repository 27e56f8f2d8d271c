// Small models for tests.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linspace.h>

#include <memory>

#include "quant/nn/linear.h"
#include "trainer/model/language_model.h"

namespace thinwire::test {

inline trainer::ModelOptions tiny_sizes() {
  trainer::ModelOptions sizes;
  sizes.layers = 2;
  sizes.width = 24;
  sizes.heads = 4;
  sizes.mlp_width = 40;
  sizes.context = 16;
  sizes.vocab = 37;
  return sizes;
}

inline std::shared_ptr<trainer::LanguageModel> float_model(const trainer::ModelOptions& sizes,
                                                           std::uint64_t seed = 1) {
  const auto linear = [](const std::string&, std::int64_t in, std::int64_t out) {
    return quant::make_float_linear(in, out);
  };
  return trainer::make_model(sizes, linear, seed);
}

// Weights of deviation 0.02 hide what attention does: this makes every part of the model matter.
inline void enlarge_weights(trainer::LanguageModel& model) {
  const at::NoGradGuard no_grad;
  for (auto& item : model.named_parameters()) {
    at::Tensor weight = item.value();
    if (weight.dim() == 2) {
      weight.mul_(15);
    } else {
      weight.copy_(at::linspace(0.5, 1.5, weight.numel()));
    }
  }
}

}  // namespace thinwire::test
