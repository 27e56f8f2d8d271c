#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "trainer/inner/inner_optimizer.h"

namespace thinwire::trainer {

double learning_rate(const InnerOptions& options, std::int64_t step) {
  if (step <= options.warmup) {
    return options.lr * static_cast<double>(step) / static_cast<double>(options.warmup);
  }
  if (options.schedule == "constant") return options.lr;
  if (options.schedule != "cosine") {
    throw std::invalid_argument("inner.schedule: expected cosine or constant, found '" + options.schedule +
                                "'");
  }
  const double length = static_cast<double>(std::max<std::int64_t>(1, options.steps - options.warmup));
  const double progress = std::min(1.0, static_cast<double>(step - options.warmup) / length);
  const double share = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return options.lr * (options.final_lr + (1 - options.final_lr) * share);
}

}  // namespace thinwire::trainer
