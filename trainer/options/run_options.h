// [run]: where a run lives, its seed and its threads.
#pragma once

#include <cstdint>
#include <string>

namespace thinwire::trainer {

struct RunOptions {
  std::string dir;  // the run's folder
  std::uint64_t seed = 1;
  int threads = 1;  // compute threads per worker
};

}  // namespace thinwire::trainer
