#include "trainer/task/layer_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "quant/nn/linear.h"
#include "trainer/model/layers_of.h"
#include "trainer/model_tensors.h"

namespace thinwire::trainer {
namespace {

std::regex compile(const std::string& key, const std::string& expression) {
  try {
    return std::regex(expression);
  } catch (const std::regex_error& error) {
    throw std::invalid_argument(
        fmt::format("{}: expected a regular expression, found \"{}\" ({})", key, expression, error.what()));
  }
}

}  // namespace

LayerPattern::LayerPattern(const std::string& key, const std::string& expression)
    : key_(key), expression_(expression), regex_(compile(key, expression)) {}

void LayerPattern::require_match(LanguageModel& model) const {
  const auto layers = layers_of<quant::Linear>(model);
  if (std::any_of(layers.begin(), layers.end(), [this](const auto& layer) { return matches(layer.first); }))
    return;
  throw std::invalid_argument(
      fmt::format("{}: \"{}\" is found in the name of no layer; the model's layers are {} to {}", key_,
                  expression_, layers.front().first, layers.back().first));
}

}  // namespace thinwire::trainer
