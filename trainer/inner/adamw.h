// AdamW (Loshchilov and Hutter 2019, 1711.05101, algorithm 2) by LibTorch's fused step:
//   theta *= 1 - lr * weight_decay          where the tensor decays
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   theta -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + 1e-8)
// t counts all steps; a tensor without a gradient is left as it is in that step.
#pragma once

#include "trainer/inner/inner_optimizer.h"

namespace thinwire::trainer {

std::unique_ptr<InnerOptimizer> make_adamw(const InnerOptions& options,
                                           const std::vector<TrainedTensor>& trained);

}  // namespace thinwire::trainer
