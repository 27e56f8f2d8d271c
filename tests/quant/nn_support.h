// What the tests of low-bit layers share.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cstring>

namespace thinwire::quant {

// The tensors of these tests are small: a second thread would only wait for the first.
inline const bool kOneThread = [] {
  at::set_num_threads(1);
  return true;
}();

inline at::Tensor random_normal(at::IntArrayRef shape, std::uint64_t seed) {
  return at::empty(shape).normal_(0, 1, at::detail::createCPUGenerator(seed));
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  return left.sizes() == right.sizes() && left.scalar_type() == right.scalar_type() &&
         std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

inline void set_parameter(torch::nn::Module& module, const std::string& name, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  module.named_parameters()[name].copy_(value);
}

// Every tensor must be there.
inline void fill_buffers(torch::nn::Module& module,
                         const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  auto buffers = module.named_buffers();
  for (const auto& [name, tensor] : tensors) buffers[name].copy_(tensor);
}

}  // namespace thinwire::quant
