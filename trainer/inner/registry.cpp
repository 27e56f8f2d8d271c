#include <stdexcept>

#include "trainer/inner/adamw.h"
#include "trainer/inner/sgd.h"

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
  std::string known;
  for (const Optimizer& optimizer : kOptimizers) {
    if (options.optimizer == optimizer.name) return optimizer.make(options, trained);
    known += (known.empty() ? "" : ", ") + std::string(optimizer.name);
  }
  throw std::invalid_argument("inner.optimizer: expected one of " + known + "; found '" + options.optimizer +
                              "'");
}

}  // namespace thinwire::trainer
