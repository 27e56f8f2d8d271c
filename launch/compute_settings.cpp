#include "launch/compute_settings.h"

#include <ATen/Parallel.h>

#include <cstdlib>
#include <mutex>

namespace thinwire::launch {

void settle_arithmetic() {
  // AUTO keeps the processor's best kernels and fixes their order; bits are promised per processor anyway.
  ::setenv("MKL_CBWR", "AUTO", 0);
}

void settle_threads(int threads) {
  static std::once_flag once;
  std::call_once(once, [] { at::set_num_interop_threads(1); });  // LibTorch takes it once a process
  at::set_num_threads(threads);
}

}  // namespace thinwire::launch
