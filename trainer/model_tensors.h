// A model seen as named tensors: what is stored of it, and its weights as floats.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "trainer/format/safetensors.h"

namespace thinwire::trainer {

class LanguageModel;

// Parameters, then buffers: all that makes a model, by name. Handles to the model's own tensors.
std::vector<std::pair<std::string, at::Tensor>> model_tensors(LanguageModel& model);

// XXH3-128 in hex of all of them, names included.
std::string digest_of_model(LanguageModel& model);

// Copies `tensors` into the model's. Throws std::runtime_error that begins with `source` and names the
// tensor, if one is missing or has another shape or dtype; further tensors are not an error.
void set_model_tensors(LanguageModel& model, const NamedTensors& tensors, const std::string& source);

enum class FloatWeights {
  kEffective,  // what the low-bit layers multiply by: a model for other programs
  kLatent,     // what they train, where they train a float weight: a start for more training
};

// The model without low-bit layers: every one of them as "<layer>.weight", all other parameters as they are.
// Float32, own memory.
NamedTensors float_weights(LanguageModel& model, FloatWeights which);

// The model as it is deployed: the packed tensors of its low-bit layers, all other parameters as they are.
NamedTensors packed_tensors(LanguageModel& model);

}  // namespace thinwire::trainer
