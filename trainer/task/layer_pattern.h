// Which layers a rule of the config means: a regular expression that is found in the layer's path.
#pragma once

#include <regex>
#include <string>

namespace thinwire::trainer {

class LanguageModel;

class LayerPattern {
 public:
  // key: where the expression stands in the config, for messages. Throws std::invalid_argument that names it
  // if the expression cannot be read.
  LayerPattern(const std::string& key, const std::string& expression);

  // layer: e.g. "blocks.3.attention.q".
  bool matches(const std::string& layer) const { return std::regex_search(layer, regex_); }

  // Throws std::invalid_argument that shows the model's layers, if none of them matches.
  void require_match(LanguageModel& model) const;

 private:
  std::string key_, expression_;
  std::regex regex_;
};

}  // namespace thinwire::trainer
