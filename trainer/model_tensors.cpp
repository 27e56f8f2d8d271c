#include "trainer/model_tensors.h"
#include "trainer/model/layers_of.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <set>

#include "quant/nn/low_bit_linear.h"
#include "trainer/format/file_io.h"
#include "trainer/state.h"

namespace thinwire::trainer {
namespace {

at::Tensor copy_of(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU).clone(at::MemoryFormat::Contiguous);
}

// The parameters that belong to no low-bit layer.
NamedTensors other_parameters(LanguageModel& model) {
  std::set<std::string> low_bit;
  for (const auto& [path, layer] : layers_of<quant::LowBitLinear>(model)) low_bit.insert(path);
  NamedTensors tensors;
  for (const auto& parameter : model.named_parameters()) {
    const std::string& name = parameter.key();
    if (!low_bit.contains(name.substr(0, name.rfind('.')))) tensors[name] = copy_of(parameter.value());
  }
  return tensors;
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor>> model_tensors(LanguageModel& model) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& parameter : model.named_parameters())
    tensors.emplace_back(parameter.key(), parameter.value());
  for (const auto& buffer : model.named_buffers()) tensors.emplace_back(buffer.key(), buffer.value());
  return tensors;
}

std::string digest_of_model(LanguageModel& model) {
  RunningHash hash;
  for (const auto& [name, tensor] : model_tensors(model)) {
    const at::Tensor whole = tensor.detach().contiguous();
    hash.add(name.data(), name.size());
    hash.add(whole.const_data_ptr(), whole.nbytes());
  }
  return hash.hex();
}

void set_model_tensors(LanguageModel& model, const NamedTensors& tensors, const std::string& source) {
  const at::NoGradGuard no_grad;
  const State state{.tensors = tensors};
  for (auto& [name, tensor] : model_tensors(model)) {
    try {
      tensor.copy_(state.require(name, tensor));
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(source + ": " + error.what());
    }
  }
}

NamedTensors float_weights(LanguageModel& model, FloatWeights which) {
  NamedTensors tensors = other_parameters(model);
  for (const auto& [path, layer] : layers_of<quant::LowBitLinear>(model)) {
    const auto parameters = layer->named_parameters();
    const at::Tensor* latent = parameters.find("weight");
    const bool takes_latent = which == FloatWeights::kLatent && latent != nullptr;
    tensors[path + ".weight"] = takes_latent ? copy_of(*latent) : layer->effective_weight();
  }
  return tensors;
}

NamedTensors packed_tensors(LanguageModel& model) {
  NamedTensors tensors = other_parameters(model);
  for (const auto& [path, layer] : layers_of<quant::LowBitLinear>(model)) {
    for (const auto& [name, tensor] : layer->packed()) tensors[path + "." + name] = copy_of(tensor);
  }
  return tensors;
}

}  // namespace thinwire::trainer
