// How a job's workers are started and watched. Launchers register in launcher/registry.cpp, a line each,
// under the name of the backend whose world they make.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/errors.h"
#include "trainer/options.h"
#include "trainer/worker.h"

namespace thinwire::launch {

// A run to start, or to go on with.
struct Job {
  trainer::Options options;  // resolved
  int workers = 1;
  bool resume = false;
  std::string hosts;  // a file of hosts for launchers that cross machines; empty: this one
};

// What a launcher tells while a job runs; one call at a time.
struct Watch {
  std::function<void(const trainer::Progress&)> on_progress;
  std::function<void(const std::string&)> on_message;  // warnings of workers, by name
};

// A program of the user's own.
struct ProgramJob {
  std::vector<std::string> command;
  trainer::CommOptions comm;
  int workers = 1;
  std::string hosts;
};

struct Launcher {
  std::string_view name;
  // Returns when every worker ended well; throws JobFailed when one did not. SIGTERM or Ctrl-C asks the
  // workers to checkpoint and stop; a second one ends at once.
  trainer::RunResult (*run)(const Job&, const Watch&);
  // The same for a program of the user's; null where the launcher starts no processes.
  void (*run_program)(const ProgramJob&);
};

// Throws UsageError that names the known ones.
const Launcher& find_launcher(std::string_view backend);

// The launchers, each in the file of its name.
trainer::RunResult run_threads(const Job& job, const Watch& watch);
trainer::RunResult run_mpi(const Job& job, const Watch& watch);
void run_program_by_mpi(const ProgramJob& job);
trainer::RunResult run_grpc(const Job& job, const Watch& watch);
void run_program_by_grpc(const ProgramJob& job);

}  // namespace thinwire::launch
