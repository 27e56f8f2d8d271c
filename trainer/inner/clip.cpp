#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include "trainer/inner/inner_optimizer.h"

namespace thinwire::trainer {

double clip_gradients(const std::vector<TrainedTensor>& trained, double max_norm) {
  std::vector<at::Tensor> gradients;
  for (const TrainedTensor& item : trained) {
    if (item.tensor.grad().defined()) gradients.push_back(item.tensor.grad());
  }
  if (gradients.empty()) return 0;
  const at::NoGradGuard no_grad;
  const double norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2))).item<double>();
  // Not finite: the scale would be zero or NaN; the caller sees the norm and decides.
  if (max_norm > 0 && norm > max_norm && std::isfinite(norm)) {
    at::_foreach_mul_(gradients, max_norm / norm);
  }
  return norm;
}

}  // namespace thinwire::trainer
