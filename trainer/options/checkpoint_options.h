// [checkpoint]: what is kept of a run.
#pragma once

#include <cstdint>

namespace thinwire::trainer {

struct CheckpointOptions {
  std::int64_t every = 50;  // steps; 0: only at the end and on a signal
  std::int64_t keep = 3;
};

}  // namespace thinwire::trainer
