#include <fmt/format.h>

#include "launch/launcher/launcher.h"

namespace thinwire::launch {
namespace {

constexpr Launcher kLaunchers[] = {
    {"threads", run_threads, nullptr},
    {"mpi", run_mpi, run_program_by_mpi},
    {"nccl", run_mpi, run_program_by_mpi},
    {"grpc", run_grpc, run_program_by_grpc},
};

}  // namespace

const Launcher& find_launcher(std::string_view backend) {
  std::string names;
  for (const Launcher& launcher : kLaunchers) {
    if (launcher.name == backend) return launcher;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", launcher.name);
  }
  throw UsageError(fmt::format("no launcher for backend \"{}\"; expected one of {}", backend, names));
}

}  // namespace thinwire::launch
