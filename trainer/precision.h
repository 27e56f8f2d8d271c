// The precision of a forward pass. Parameters, the residual stream, norms, logits and losses stay float32;
// with bfloat16 the matrix products and the attention between them run in bfloat16.
#pragma once

#include <string>

namespace thinwire::trainer {

// Within its scope, forward passes of this thread run in the named precision ("float32", "bfloat16"). The
// backward pass follows the forward pass and needs no scope. Throws std::invalid_argument for another name.
//
//   at::Tensor loss;
//   {
//     const PrecisionScope scope(options.inner.precision);
//     loss = task.loss(batch);
//   }
//   loss.backward();
class PrecisionScope {
 public:
  explicit PrecisionScope(const std::string& precision);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  bool was_enabled_;
  bool was_cached_;
};

}  // namespace thinwire::trainer
