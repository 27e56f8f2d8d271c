// What tasks, optimisers, the outer loop and data share: tensors that train, and batches. The narrowest
// header of LibTorch, since nearly every source of the trainer includes this one.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <string>

namespace thinwire::trainer {

// Where a travelling tensor stands in its fragment: matrices first, then vectors, then scales in a new block.
enum class TensorGroup { kMatrix, kVector, kScale };

struct TrainedTensor {
  std::string name;     // unique in the task
  at::Tensor tensor;    // float32 leaf
  bool decays = true;   // weight decay applies
  bool travels = true;  // takes part in the outer loop
  TensorGroup group = TensorGroup::kMatrix;
  std::int64_t block = -1;  // the model's block it belongs to; -1: embeddings, head, final norm
  // No update leaves a value below it: after_update sees to the live tensor, the outer loop to the agreed
  // copy.
  float least = -std::numeric_limits<float>::infinity();
};

struct Batch {
  at::Tensor tokens;   // int64 [B, T]
  at::Tensor targets;  // int64 [B, T], tokens shifted by one; -100 where there is none
};

}  // namespace thinwire::trainer
