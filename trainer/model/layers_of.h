// The layers in a model.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "trainer/model/language_model.h"

namespace thinwire::trainer {

// Those of one kind, by path.
template <typename Layer>
std::vector<std::pair<std::string, Layer*>> layers_of(LanguageModel& model) {
  std::vector<std::pair<std::string, Layer*>> layers;
  for (const auto& item : model.named_modules()) {
    if (auto* layer = dynamic_cast<Layer*>(item.value().get())) layers.emplace_back(item.key(), layer);
  }
  return layers;
}

}  // namespace thinwire::trainer
