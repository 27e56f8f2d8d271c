#include "quant/kernel/outer_ops.h"

#include <stdexcept>
#include <string>

namespace thinwire::quant {
namespace {

void check_lengths(const char* operation, std::size_t expected, std::size_t found) {
  if (expected == found) return;
  throw std::invalid_argument(std::string(operation) + ": spans of one call have one length, got " +
                              std::to_string(expected) + " and " + std::to_string(found));
}

}  // namespace

void outer_delta(std::span<const float> agreed, std::span<const float> local, std::span<float> out) {
  check_lengths("outer_delta", out.size(), agreed.size());
  check_lengths("outer_delta", out.size(), local.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = agreed[i] - local[i];
}

void add_in_place(std::span<float> a, std::span<const float> b) {
  check_lengths("add_in_place", a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
}

void subtract_in_place(std::span<float> a, std::span<const float> b) {
  check_lengths("subtract_in_place", a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
}

void scale_in_place(std::span<float> a, float factor) {
  for (float& value : a) value *= factor;
}

void divide_in_place(std::span<float> sum, float contributors) {
  for (float& value : sum) value /= contributors;
}

void nesterov_step(const NesterovRule& rule, std::span<const float> gradient, std::span<float> momentum,
                   std::span<float> agreed) {
  check_lengths("nesterov_step", agreed.size(), gradient.size());
  check_lengths("nesterov_step", agreed.size(), momentum.size());
  for (std::size_t i = 0; i < agreed.size(); ++i) {
    const float g = gradient[i];
    const float v = rule.momentum * momentum[i] + g;
    momentum[i] = v;
    agreed[i] -= rule.lr * (g + rule.momentum * v);
  }
}

void merge_into_local(float alpha, std::span<const float> agreed, std::span<float> local) {
  check_lengths("merge_into_local", local.size(), agreed.size());
  const float beta = 1.0f - alpha;
  for (std::size_t i = 0; i < local.size(); ++i) {
    local[i] = alpha == 0.0f ? agreed[i] : alpha * local[i] + beta * agreed[i];
  }
}

}  // namespace thinwire::quant
