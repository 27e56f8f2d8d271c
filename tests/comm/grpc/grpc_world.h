// A world over gRPC inside this process: a coordinator on a port that the system chooses, and one thread per
// worker.
#pragma once

#include <barrier>
#include <functional>
#include <memory>
#include <string>

#include "comm/backend/backend.h"
#include "comm/backend/grpc/coordinator.h"
#include "comm/link.h"
#include "tests/comm/world.h"

namespace thinwire::comm {

inline BackendOptions grpc_options(const std::string& coordinator, double timeout_s) {
  BackendOptions options{.name = "grpc", .timeout_s = timeout_s};
  options.grpc.coordinator = coordinator;
  return options;
}

// Joins `size` workers and gives each body its communicator; none is destroyed before all bodies have
// returned.
inline void run_grpc_world(int size, double timeout_s, const std::string& link,
                           const std::function<void(Communicator&)>& body) {
  Coordinator coordinator({.workers = size, .join_timeout_s = 60});
  std::barrier all_returned(size);
  run_ranks(size, [&](int rank) {
    BackendOptions options = grpc_options(coordinator.address(), timeout_s);
    options.grpc.rank = rank;
    std::unique_ptr<Communicator> communicator;
    try {
      communicator = shape(connect(options), parse_link(link));
      body(*communicator);
    } catch (...) {
      all_returned.arrive_and_wait();
      throw;
    }
    all_returned.arrive_and_wait();
  });
}

}  // namespace thinwire::comm
