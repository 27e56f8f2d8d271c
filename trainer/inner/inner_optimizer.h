// The inner optimiser of a worker, LibTorch's, with its learning-rate schedule and state. Optimisers register
// in trainer/inner/registry.cpp, a line each.
#pragma once

#include <memory>
#include <vector>

#include "trainer/core/tensors.h"
#include "trainer/options/inner_options.h"
#include "trainer/state.h"

namespace thinwire::trainer {

// Rate of step t (1-based): linear warm-up, then the schedule down to final_lr * lr at options.steps.
double learning_rate(const InnerOptions& options, std::int64_t step);

class InnerOptimizer {
 public:
  virtual ~InnerOptimizer() = default;
  virtual void zero_grad() = 0;
  virtual void step(double lr) = 0;
  virtual State state() const = 0;
  virtual void load(const State& state) = 0;
};

std::unique_ptr<InnerOptimizer> make_inner_optimizer(const InnerOptions& options,
                                                     const std::vector<TrainedTensor>& trained);

// Scales gradients so that their global norm is at most max_norm (0: only measures). Returns the norm before.
double clip_gradients(const std::vector<TrainedTensor>& trained, double max_norm);

}  // namespace thinwire::trainer
