#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

#include "trainer/inner/adamw.h"
#include "trainer/inner/sgd.h"
#include "trainer/registries.h"

namespace thinwire::trainer {
namespace {

struct Optimizer {
  const char* name;
  std::unique_ptr<InnerOptimizer> (*make)(const InnerOptions&, const std::vector<TrainedTensor>&);
};

constexpr Optimizer kOptimizers[] = {
    {"adamw", make_adamw},
    {"sgd", make_sgd},
};

}  // namespace

std::unique_ptr<InnerOptimizer> make_inner_optimizer(const InnerOptions& options,
                                                     const std::vector<TrainedTensor>& trained) {
  for (const Optimizer& optimizer : kOptimizers)
    if (options.optimizer == optimizer.name) return optimizer.make(options, trained);
  throw std::invalid_argument(fmt::format("inner.optimizer: expected one of {}; found \"{}\"",
                                          fmt::join(inner_optimizers(), ", "), options.optimizer));
}

std::vector<std::string> inner_optimizers() {
  std::vector<std::string> names;
  for (const Optimizer& optimizer : kOptimizers) names.emplace_back(optimizer.name);
  return names;
}

}  // namespace thinwire::trainer
