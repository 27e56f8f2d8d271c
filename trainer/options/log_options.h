// [log]: what is written and when.
#pragma once

#include <cstdint>

namespace thinwire::trainer {

struct LogOptions {
  std::int64_t every = 10;      // steps
  std::int64_t eval_every = 0;  // steps; 0: only at the end
  bool tensorboard = true;
};

}  // namespace thinwire::trainer
