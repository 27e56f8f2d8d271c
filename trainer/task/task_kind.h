// One kind of task, as the registry knows it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quant/nn/linear_factory.h"
#include "trainer/task/task.h"
#include "trainer/task/task_tensors.h"

namespace thinwire::trainer {

struct TaskKind {
  std::string_view name;
  std::unique_ptr<Task> (*make)(const Options&);
  quant::LinearFactory (*layers)(const Options&);         // of the model that trains
  quant::LinearFactory (*packed_layers)(const Options&);  // of the model that is deployed
  std::vector<TensorShape> (*tensors)(const Options&,
                                      const std::vector<LayerShape>&);  // as in task_tensors.h
  std::string_view keys = {};  // of the config, that not every kind reads
};

// Throws std::invalid_argument that names the known kinds.
const TaskKind& find_task_kind(const std::string& name);

// The kinds' parts, each in the file of its kind.
quant::LinearFactory float_layers(const Options& options);
quant::LinearFactory qat_layers(const Options& options);
quant::LinearFactory packed_qat_layers(const Options& options);
quant::LinearFactory lora_layers(const Options& options);
quant::LinearFactory distill_layers(const Options& options);
quant::LinearFactory packed_distill_layers(const Options& options);
std::unique_ptr<Task> make_pretrain_task(const Options& options);
std::unique_ptr<Task> make_qat_task(const Options& options);
std::unique_ptr<Task> make_lora_task(const Options& options);
std::unique_ptr<Task> make_distill_task(const Options& options);

}  // namespace thinwire::trainer
