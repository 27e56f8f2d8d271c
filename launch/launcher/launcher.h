// How a job's workers are started and watched. Launchers register in launcher/registry.cpp, a line each,
// under the name of the backend whose world they make.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "launch/errors.h"
#include "trainer/options/options.h"
#include "trainer/worker.h"

namespace thinwire::launch {

// A run to start, or to go on with.
struct Job {
  trainer::Options options;  // resolved
  int workers = 1;           // 0: as many as the world has that starts them
  bool resume = false;
  bool start_over = false;                            // as in trainer::WorkerContext
  bool overwrite = false;                             // as there
  nlohmann::json changes = nlohmann::json::object();  // as there
  std::string hosts{};  // a file of hosts for launchers that cross machines, absolute; empty: this one
};

// The step of a run that was stopped before its first one.
constexpr std::int64_t kBeforeFirstStep = -1;

// What a launcher tells while a job runs; one call at a time.
struct Watch {
  std::function<void(const trainer::Progress&)> on_progress;
  std::function<void(const std::string&)> on_message;  // notices, and warnings of workers by name
  // A stop before the first step, where the workers are this process: reports it and ends the process.
  std::function<void(int signal)> on_early_stop{};
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
  // Returns when every worker ended well; throws JobFailed when one did not. A stop signal asks the workers
  // to checkpoint and stop; before the first step there is nothing to keep and they are ended. So they are by
  // a second request.
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
