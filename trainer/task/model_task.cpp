#include "trainer/task/model_task.h"

#include <utility>

#include "trainer/model/language_model.h"

namespace thinwire::trainer {

ModelTask::ModelTask(std::shared_ptr<LanguageModel> model) : model_(std::move(model)) {
  model_->train();
}

std::vector<TrainedTensor> ModelTask::trained() {
  std::vector<TrainedTensor> tensors;
  for (const auto& parameter : model_->named_parameters()) {
    if (!parameter.value().requires_grad()) continue;
    const bool is_matrix = parameter.value().dim() > 1;
    tensors.push_back({.name = parameter.key(),
                       .tensor = parameter.value(),
                       .decays = is_matrix,
                       .group = is_matrix ? TensorGroup::kMatrix : TensorGroup::kVector,
                       .block = block_of(parameter.key())});
  }
  return tensors;
}

std::vector<std::pair<std::string, at::Tensor>> ModelTask::frozen() {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& parameter : model_->named_parameters()) {
    if (!parameter.value().requires_grad()) tensors.emplace_back(parameter.key(), parameter.value());
  }
  for (const auto& buffer : model_->named_buffers()) tensors.emplace_back(buffer.key(), buffer.value());
  return tensors;
}

}  // namespace thinwire::trainer
