// What tasks that own one model share: which of its tensors train, which are frozen.
#pragma once

#include "trainer/task/task.h"

namespace thinwire::trainer {

class ModelTask : public Task {
 public:
  LanguageModel& model() override { return *model_; }

  // The model's parameters that ask for a gradient, by name. Matrices decay, vectors do not.
  std::vector<TrainedTensor> trained() override;
  // All other parameters, then the buffers.
  std::vector<std::pair<std::string, at::Tensor>> frozen() override;

 protected:
  explicit ModelTask(std::shared_ptr<LanguageModel> model);

 private:
  std::shared_ptr<LanguageModel> model_;  // shared only because torch modules are
};

}  // namespace thinwire::trainer
