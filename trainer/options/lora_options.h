// [lora]: the adapters of task.kind = lora.
#pragma once

#include <cstdint>
#include <string>

namespace thinwire::trainer {

struct LoraOptions {
  std::string match = "blocks\\.";
  std::int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  std::string base = "nf4";
};

}  // namespace thinwire::trainer
