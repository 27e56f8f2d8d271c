#include "trainer/inner/adamw.h"
#include "trainer/inner/muon.h"
#include "trainer/inner/optimizer_plan.h"
#include "trainer/inner/sgd.h"
#include "trainer/named.h"
#include "trainer/registries.h"

namespace thinwire::trainer {
namespace {

// Buffers of a tensor's size.
int two_moments(const InnerOptions&, const TensorShape&) {
  return 2;
}
int muon_buffers(const InnerOptions&, const TensorShape& tensor) {
  return tensor.group == TensorGroup::kMatrix && tensor.block >= 0 ? 1 : 2;
}
int sgd_buffers(const InnerOptions& options, const TensorShape&) {
  return options.betas.empty() || options.betas[0] == 0 ? 0 : 1;
}

struct Optimizer {
  const char* name;
  std::unique_ptr<InnerOptimizer> (*make)(const InnerOptions&, const std::vector<TrainedTensor>&);
  int (*buffers)(const InnerOptions&, const TensorShape&);
  std::string_view keys;  // that not every optimiser reads
};

constexpr Optimizer kOptimizers[] = {
    {"adamw", make_adamw, two_moments, "inner.betas"},
    {"muon", make_muon, muon_buffers, "inner.betas inner.momentum"},
    {"sgd", make_sgd, sgd_buffers, "inner.betas"},
};

}  // namespace

std::unique_ptr<InnerOptimizer> make_inner_optimizer(const InnerOptions& options,
                                                     const std::vector<TrainedTensor>& trained) {
  return find_named(kOptimizers, "inner.optimizer", options.optimizer).make(options, trained);
}

std::int64_t optimizer_values(const InnerOptions& options, const std::vector<TensorShape>& tensors) {
  const Optimizer& optimizer = find_named(kOptimizers, "inner.optimizer", options.optimizer);
  std::int64_t values = 0;
  for (const TensorShape& tensor : tensors) {
    if (tensor.trains) values += tensor.values * optimizer.buffers(options, tensor);
  }
  return values;
}

std::vector<EntryKeys> optimizer_keys() {
  std::vector<EntryKeys> all;
  for (const Optimizer& optimizer : kOptimizers) all.push_back({optimizer.name, words_of(optimizer.keys)});
  return all;
}

std::vector<std::string> inner_optimizers() {
  return names_of(kOptimizers);
}

}  // namespace thinwire::trainer
