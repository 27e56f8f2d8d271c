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
};

constexpr Optimizer kOptimizers[] = {
    {"adamw", make_adamw},
    {"muon", make_muon},
    {"sgd", make_sgd},
};

}  // namespace

std::unique_ptr<InnerOptimizer> make_inner_optimizer(const InnerOptions& options,
                                                     const std::vector<TrainedTensor>& trained) {
  return find_named(kOptimizers, "inner.optimizer", options.optimizer).make(options, trained);
}

std::vector<std::string> inner_optimizers() {
  return names_of(kOptimizers);
}

}  // namespace thinwire::trainer
