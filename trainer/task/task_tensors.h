// The tensors of a task without the task: what trains, what travels and what is only held, at any size, at
// once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/core/tensors.h"
#include "trainer/model/model_layers.h"

namespace thinwire::trainer {

struct Options;

struct TensorShape {
  std::string name;
  std::int64_t values = 0;
  bool trains = true;
  bool travels = true;
  TensorGroup group = TensorGroup::kMatrix;
  std::int64_t block = -1;  // as in TrainedTensor
  std::uint64_t bytes = 0;  // held
};

// Those that train in the order of Task::trained(), among those that are frozen. options.model: settled, with
// layers. Throws std::invalid_argument as make_task does for what needs no data.
std::vector<TensorShape> task_tensors(const Options& options, const std::vector<LayerShape>& layers);

// A layer's own weight, in float32.
TensorShape float_weight(const LayerShape& layer, bool trains);

// By kind of task, each in the file of its kind.
std::vector<TensorShape> float_tensors(const Options& options, const std::vector<LayerShape>& layers);
std::vector<TensorShape> qat_tensors(const Options& options, const std::vector<LayerShape>& layers);
std::vector<TensorShape> lora_tensors(const Options& options, const std::vector<LayerShape>& layers);

}  // namespace thinwire::trainer
