#include "trainer/inner/adamw.h"
#include "trainer/inner/muon.h"
#include "trainer/inner/sgd.h"
#include "trainer/named.h"
#include "trainer/registries.h"

namespace thinwire::trainer {
namespace {

struct Optimizer {
  const char* name;
  std::unique_ptr<InnerOptimizer> (*make)(const InnerOptions&, const std::vector<TrainedTensor>&);
  std::string_view keys;  // that not every optimiser reads
};

constexpr Optimizer kOptimizers[] = {
    {"adamw", make_adamw, "inner.betas"},
    {"muon", make_muon, "inner.betas inner.momentum"},
    {"sgd", make_sgd, "inner.betas"},
};

}  // namespace

std::unique_ptr<InnerOptimizer> make_inner_optimizer(const InnerOptions& options,
                                                     const std::vector<TrainedTensor>& trained) {
  return find_named(kOptimizers, "inner.optimizer", options.optimizer).make(options, trained);
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
