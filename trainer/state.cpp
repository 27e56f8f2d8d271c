#include "trainer/state.h"

#include <sstream>
#include <stdexcept>

namespace thinwire::trainer {
namespace {

std::string describe(const at::Tensor& tensor) {
  std::ostringstream out;
  out << tensor.dtype() << " " << tensor.sizes();
  return out.str();
}

}  // namespace

void State::add(const std::string& prefix, const State& part) {
  if (meta.contains(prefix)) throw std::logic_error("state part '" + prefix + "' is added twice");
  meta[prefix] = part.meta;
  for (const auto& [name, tensor] : part.tensors) tensors.emplace(prefix + "/" + name, tensor);
}

State State::part(const std::string& prefix) const {
  State found;
  if (const auto it = meta.find(prefix); it != meta.end()) found.meta = *it;
  const std::string start = prefix + "/";
  for (auto it = tensors.lower_bound(start); it != tensors.end() && it->first.starts_with(start); ++it) {
    found.tensors.emplace(it->first.substr(start.size()), it->second);
  }
  return found;
}

State State::copy() const {
  State copy = *this;
  for (auto& [name, tensor] : copy.tensors) tensor = tensor.clone();
  return copy;
}

const at::Tensor& State::require(const std::string& name, const at::Tensor& like) const {
  const auto it = tensors.find(name);
  if (it == tensors.end()) {
    throw std::runtime_error("state has no tensor '" + name + "' (expected " + describe(like) +
                             "); it was written by a run with other settings");
  }
  const at::Tensor& found = it->second;
  if (found.sizes() != like.sizes() || found.scalar_type() != like.scalar_type()) {
    throw std::runtime_error("state tensor '" + name + "': expected " + describe(like) + ", found " +
                             describe(found) + "; it was written by a run with other settings");
  }
  return found;
}

}  // namespace thinwire::trainer
