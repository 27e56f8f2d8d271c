// One worker whose engine starts and ends MPI on its own thread, as a run does; started by mpirun, and judged
// by its exit code.
#include <algorithm>
#include <iostream>
#include <span>
#include <string>

#include "comm/backend/backend.h"
#include "comm/progress_engine.h"

using namespace thinwire::comm;

int main() {
  try {
    ProgressEngine engine([] { return connect({.name = "mpi", .timeout_s = 60}); });
    engine.start();
    const std::string mine = "worker " + std::to_string(engine.rank());
    const auto all = engine.gather(std::as_bytes(std::span(mine)), 64, "names");
    for (int r = 0; r < engine.size(); ++r) {
      const std::string expected = "worker " + std::to_string(r);
      if (!std::ranges::equal(all[r], std::as_bytes(std::span(expected)))) return 1;
    }
    engine.barrier();
    engine.stop();
    // MPI cannot start twice in a process; that is an error, not a crash.
    ProgressEngine again([] { return connect({.name = "mpi", .timeout_s = 60}); });
    again.start();
  } catch (const CommError& error) {
    std::cerr << error.what() << std::endl;
    return error.kind() == CommError::Kind::kClosed ? 0 : 2;
  }
  return 3;
}
