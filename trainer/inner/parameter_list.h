// The tensors that an optimiser steps, with the optimiser's buffers for each: what LibTorch's fused steps
// take.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "trainer/core/tensors.h"
#include "trainer/state.h"

namespace thinwire::trainer {

// Parallel lists of those tensors that have a gradient now and share a weight decay.
struct StepLists {
  std::vector<at::Tensor> parameters, gradients;
  std::vector<std::vector<at::Tensor>> buffers;  // [buffer][tensor]
};

class ParameterList {
 public:
  // Each tensor gets one zero buffer of its shape for every name in `buffers`.
  ParameterList(const std::vector<TrainedTensor>& trained, std::vector<std::string> buffers);

  void zero_grad();
  StepLists with_gradient(bool decays) const;

  // Buffers as "tensor's name/buffer's name", copied.
  State state() const;
  void load(const State& state);

 private:
  std::vector<TrainedTensor> trained_;
  std::vector<std::string> buffer_names_;
  std::vector<std::vector<at::Tensor>> buffers_;  // [buffer][tensor]
};

}  // namespace thinwire::trainer
