#include "trainer/task/task.h"

#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>

#include "trainer/model/language_model.h"

namespace thinwire::trainer {

const ModelOptions& Task::model_options() {
  return model().options();
}
namespace {

at::Tensor flat_cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                              at::Reduction::Reduction how) {
  return at::cross_entropy_loss(logits.flatten(0, -2).to(at::kFloat), targets.flatten(), {}, how);
}

}  // namespace

at::Tensor mean_cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  return flat_cross_entropy(logits, targets, at::Reduction::Mean);
}

double Task::evaluate(const Batch& batch) {
  const at::NoGradGuard no_grad;
  LanguageModel& evaluated = model();
  const bool was_training = evaluated.is_training();
  evaluated.eval();
  const at::Tensor logits = evaluated.forward(batch.tokens).logits;
  evaluated.train(was_training);
  return flat_cross_entropy(logits, batch.targets, at::Reduction::Sum).item<double>();
}

}  // namespace thinwire::trainer
