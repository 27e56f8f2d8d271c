// [distill]: the student and its losses under task.kind = distill.
#pragma once

#include <string>

namespace thinwire::trainer {

struct DistillOptions {
  std::string match = "blocks\\.";  // layers whose weights become one bit
  double temperature = 1;
  double logits = 1;  // weight of the logits loss
  double hidden = 1;  // weight of the hidden-state loss
  double labels = 0;  // weight of the cross-entropy with the text
};

}  // namespace thinwire::trainer
