#include "launch/world.h"

#include <cstdlib>
#include <utility>

#include "comm/backend/backend.h"
#include "comm/link.h"

namespace thinwire::launch {

std::string surrounding_backend() {
  return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr ? "mpi" : "";
}

std::string joined_backend(const std::string& asked) {
  const std::string surrounding = surrounding_backend();
  return surrounding == "mpi" && asked == "nccl" ? asked : surrounding;
}

int surrounding_rank() {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  return rank == nullptr ? 0 : std::atoi(rank);
}

std::unique_ptr<comm::ProgressEngine> join_world(const WorldOptions& options) {
  if (options.backend.empty()) return start_engine(comm::make_solo, options.link);
  return start_engine(
      [=] { return comm::connect({.name = options.backend, .timeout_s = options.timeout_s}); }, options.link);
}

std::unique_ptr<comm::ProgressEngine> start_engine(std::function<std::unique_ptr<comm::Communicator>()> make,
                                                   const std::string& link) {
  const comm::LinkSpec spec = comm::parse_link(link);
  auto engine = std::make_unique<comm::ProgressEngine>(
      [make = std::move(make), spec] { return comm::shape(make(), spec); });
  engine->start();
  return engine;
}

}  // namespace thinwire::launch
