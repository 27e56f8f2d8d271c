#include "trainer/inner/parameter_list.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

namespace thinwire::trainer {

ParameterList::ParameterList(const std::vector<TrainedTensor>& trained, std::vector<std::string> buffers)
    : trained_(trained), buffer_names_(std::move(buffers)), buffers_(buffer_names_.size()) {
  for (auto& buffer : buffers_) {
    for (const TrainedTensor& item : trained_) buffer.push_back(at::zeros(item.tensor.sizes(), at::kFloat));
  }
}

void ParameterList::zero_grad() {
  for (TrainedTensor& item : trained_) item.tensor.mutable_grad() = at::Tensor();
}

StepLists ParameterList::with_gradient(bool decays) const {
  StepLists lists;
  lists.buffers.resize(buffers_.size());
  for (std::size_t i = 0; i < trained_.size(); ++i) {
    const at::Tensor& tensor = trained_[i].tensor;
    if (trained_[i].decays != decays || !tensor.grad().defined()) continue;
    lists.parameters.push_back(tensor);
    lists.gradients.push_back(tensor.grad());
    for (std::size_t b = 0; b < buffers_.size(); ++b) lists.buffers[b].push_back(buffers_[b][i]);
  }
  return lists;
}

State ParameterList::state() const {
  State state;
  for (std::size_t b = 0; b < buffers_.size(); ++b) {
    for (std::size_t i = 0; i < trained_.size(); ++i) {
      state.tensors[trained_[i].name + "/" + buffer_names_[b]] = buffers_[b][i];
    }
  }
  return state;
}

void ParameterList::load(const State& state) {
  for (std::size_t b = 0; b < buffers_.size(); ++b) {
    for (std::size_t i = 0; i < trained_.size(); ++i) {
      at::Tensor& buffer = buffers_[b][i];
      buffer.copy_(state.require(trained_[i].name + "/" + buffer_names_[b], buffer));
    }
  }
}

}  // namespace thinwire::trainer
