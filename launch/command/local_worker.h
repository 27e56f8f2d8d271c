// One worker in this process: alone, in the world that a launcher or mpirun started, or in that of a
// coordinator.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "launch/launcher/launcher.h"
#include "launch/stop_signals.h"
#include "launch/world.h"

namespace thinwire::launch {

class CommandLine;

// Options of `train` and `resume` for a world that meets at a coordinator.
struct JoinOptions {
  std::string coordinator;  // empty: no such world
  std::string listen = "127.0.0.1:0";
  std::optional<int> rank;
  std::string tls;
  std::string token_file;
};
void add_join_options(const CommandLine& line, JoinOptions& options);

// The first line of a token file. Throws UsageError that names the file if it is empty, too long or not
// there.
std::string read_token(const std::string& path);

// Equal for workers that may train together: of the config without what may stand elsewhere on each host, and
// of what the run starts from as far as it is known before there is a world (release, train or resume).
std::string config_digest(const trainer::Options& options);
std::string start_digest(const Job& job);

// The world of a coordinator; checks that go with it. Throws UsageError.
WorldOptions coordinator_world(const Job& job, const JoinOptions& options);
// The world that started this process; of one if nothing did. Throws std::invalid_argument (launch/world.h).
WorldOptions surrounding_world(const Job& job);

// What a worker tells; each is called.
struct WorkerEvents {
  std::function<void(int rank, int size)> on_join;
  std::function<void(std::int64_t step)> on_begin;
  std::function<void(const trainer::Progress&)> on_progress;
  std::function<void(const std::string&)> on_notice;
  std::function<void(const std::string&)> on_warning;
};

struct LocalResult {
  trainer::RunResult result;
  int rank = 0;
  int workers = 1;
};
// Joins the world, trains, and leaves it in good order.
LocalResult run_local_worker(const Job& job, const WorldOptions& world, const StopSignals& stop,
                             const WorkerEvents& events);

// Runs a worker that no launcher watches, and reports; returns an exit code.
int run_here(const Job& job, const WorldOptions& world, bool json);
int run_with_coordinator(Job job, const JoinOptions& options, bool json);

// A failed worker ends its process at once: leaving the world in good order would wait for the others.
[[noreturn]] void leave_broken_world(int exit_code);

}  // namespace thinwire::launch
