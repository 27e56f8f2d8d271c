// Gradient descent with momentum and coupled weight decay, by LibTorch's fused step:
//   g += weight_decay * theta               where the tensor decays
//   m = momentum * m + g;  theta -= lr * m
// The momentum is the first of inner.betas; 0, or no betas, is plain gradient descent without state.
#pragma once

#include "trainer/inner/inner_optimizer.h"

namespace thinwire::trainer {

std::unique_ptr<InnerOptimizer> make_sgd(const InnerOptions& options,
                                         const std::vector<TrainedTensor>& trained);

}  // namespace thinwire::trainer
