// What a part of a worker needs to go on bit for bit: named tensors and a little JSON. Parts hand out a State
// and take one back; trainer/checkpoint stores it. Names are unique within one State.
//
// A tensor may be the part's own memory, so that a checkpoint does not double a worker's: it holds until the
// part's next step. To keep a State longer, keep a copy().
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace thinwire::trainer {

struct State {
  std::map<std::string, at::Tensor> tensors;  // CPU, contiguous; any dtype that safetensors has
  nlohmann::json meta = nlohmann::json::object();

  // Takes over `part` under prefix: tensors as "prefix/name", meta as meta[prefix].
  void add(const std::string& prefix, const State& part);
  // The inverse of add. A prefix that is not there is an empty State.
  State part(const std::string& prefix) const;
  State copy() const;
  // Throws std::runtime_error that names the tensor, if it is missing or has another shape or dtype than
  // `like`.
  const at::Tensor& require(const std::string& name, const at::Tensor& like) const;
};

}  // namespace thinwire::trainer
