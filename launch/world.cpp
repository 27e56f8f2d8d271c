#include "launch/world.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <utility>

#include "comm/link.h"

namespace thinwire::launch {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Of the first of these variables that is a number; else `none`.
int number_of(std::initializer_list<const char*> names, int none) {
  for (const char* name : names) {
    const std::string text = variable(name);
    int number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    if (!text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) return number;
  }
  return none;
}

bool has(const char* name) {
  return std::getenv(name) != nullptr;
}

// MPI_Init finds its world here: mpirun's own, or one that a starter's PMIx or PMI describes.
bool mpi_can_join() {
  return has("OMPI_COMM_WORLD_SIZE") || has("PMIX_RANK") || has("PMI_RANK");
}

constexpr const char* kHowToStart =
    "start the workers by `thinwire launch CONFIG -n N`, by `mpirun -n N thinwire train CONFIG`, or under "
    "Slurm by "
    "`srun --mpi=pmix -n N thinwire train CONFIG --set comm.backend=mpi`";

}  // namespace

std::string surrounding_backend() {
  if (!variable(kCoordinatorVariable).empty()) return "grpc";
  return has("OMPI_COMM_WORLD_SIZE") ? "mpi" : "";
}

std::string joined_backend(const std::string& asked) {
  if ((asked == "mpi" || asked == "nccl") && !mpi_can_join()) {
    throw std::invalid_argument(
        fmt::format("comm.backend = \"{}\", and no MPI world is around this process; {}. One worker alone: "
                    "--set comm.backend=threads",
                    asked, kHowToStart));
  }
  if (asked == "grpc" && surrounding_backend() != "grpc") {
    throw std::invalid_argument(
        "comm.backend = \"grpc\", and no coordinator is named; name one by --coordinator HOST:PORT "
        "(`thinwire "
        "coordinator` runs there), or start all workers of this machine by `thinwire launch CONFIG -n N`");
  }
  if (asked != "threads") return asked;
  const std::string surrounding = surrounding_backend();
  if (const int size = surrounding_size(); surrounding.empty() && size > 1) {
    throw std::invalid_argument(fmt::format(
        "this process was started as one of {}, and comm.backend = \"threads\" would make each a world of "
        "its own; {}. One worker alone: start one process",
        size, kHowToStart));
  }
  return surrounding;
}

bool is_one_of_several() {
  return mpi_can_join() && surrounding_size() > 1;
}

int surrounding_size() {
  return number_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}, 0);
}

int surrounding_size_here() {
  const int known = number_of({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}, 0);
  return known > 0 ? known : surrounding_size() > 1 ? 0 : 1;
}

void require_size(const std::string& backend, int size) {
  const int expected = surrounding_size();
  if ((backend != "mpi" && backend != "nccl") || expected == 0 || expected == size) return;
  throw std::invalid_argument(fmt::format(
      "this process was started as one of {}, and MPI made a world of {} of it: the starter and Open MPI do "
      "not understand each other; {}",
      expected, size, kHowToStart));
}

int surrounding_rank() {
  if (surrounding_backend() == "grpc") return surrounding_grpc().rank.value_or(0);
  return number_of({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}, 0);
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
