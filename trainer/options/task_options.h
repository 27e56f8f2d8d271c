// [task]: what is learned.
#pragma once

#include <string>

namespace thinwire::trainer {

struct TaskOptions {
  std::string kind = "pretrain";  // pretrain, qat, lora, distill
  std::string teacher;            // distill: a run or checkpoint of ours
};

}  // namespace thinwire::trainer
