// [quant]: which layers are low-bit under task.kind = qat.
#pragma once

#include <string>
#include <vector>

namespace thinwire::trainer {

// The first rule whose `match` (a regular expression) is found in a layer's name applies to it.
struct QuantRule {
  std::string match = "blocks\\.";
  std::string weights = "int4";      // int2 int4 int8 or none
  std::string activations = "int8";  // int4 int8 or none
};

struct QuantOptions {
  std::vector<QuantRule> rule;
};

}  // namespace thinwire::trainer
