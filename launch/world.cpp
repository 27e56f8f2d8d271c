#include "launch/world.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "comm/link.h"

namespace thinwire::launch {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string surrounding_backend() {
  if (!variable(kCoordinatorVariable).empty()) return "grpc";
  return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr ? "mpi" : "";
}

std::string joined_backend(const std::string& asked) {
  const std::string surrounding = surrounding_backend();
  return surrounding == "mpi" && asked == "nccl" ? asked : surrounding;
}

int surrounding_rank() {
  if (surrounding_backend() == "grpc") return surrounding_grpc().rank.value_or(0);
  return std::atoi(variable("OMPI_COMM_WORLD_RANK").c_str());
}

comm::GrpcOptions surrounding_grpc() {
  comm::GrpcOptions options{.coordinator = variable(kCoordinatorVariable),
                            .tls_dir = variable(kTlsVariable),
                            .token = variable(kTokenVariable)};
  if (const std::string listen = variable(kListenVariable); !listen.empty()) options.listen = listen;
  if (const std::string rank = variable(kRankVariable); !rank.empty()) {
    int number = 0;
    const auto parsed = std::from_chars(rank.data(), rank.data() + rank.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != rank.data() + rank.size()) {
      throw std::invalid_argument(fmt::format("{}: expected a number, found \"{}\"", kRankVariable, rank));
    }
    options.rank = number;
  }
  return options;
}

std::unique_ptr<comm::ProgressEngine> join_world(const WorldOptions& options) {
  if (options.backend.empty()) return start_engine(comm::make_solo, options.link);
  return start_engine(
      [=] {
        return comm::connect({.name = options.backend, .timeout_s = options.timeout_s, .grpc = options.grpc});
      },
      options.link);
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
