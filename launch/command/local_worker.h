// One worker in this process: alone, in the world that a launcher or mpirun started, or in that of a
// coordinator.
#pragma once

#include <optional>
#include <string>

#include "launch/launcher/launcher.h"
#include "launch/world.h"

namespace CLI {
class App;
}

namespace thinwire::launch {

// Options of `train` and `resume` for a world that meets at a coordinator.
struct JoinOptions {
  std::string coordinator;  // empty: no such world
  std::string listen = "127.0.0.1:0";
  std::optional<int> rank;
  std::string tls;
  std::string token_file;
};
void add_join_options(CLI::App& app, JoinOptions& options);

// The first line of a token file. Throws UsageError that names the file if it is empty, too long or not
// there.
std::string read_token(const std::string& path);

// Equal for workers that may train together: of the config without run.dir, and of what the run starts from
// as far as it is known before there is a world (release, train or resume, the sizes of the data files).
std::string config_digest(const trainer::Options& options);
std::string start_digest(const Job& job);

// The world of a coordinator; checks that go with it. Throws UsageError.
WorldOptions coordinator_world(const Job& job, const JoinOptions& options);
// The world that started this process; of one if nothing did.
WorldOptions surrounding_world(const Job& job);

struct LocalResult {
  trainer::RunResult result;
  int rank = 0;
  int workers = 1;
};
// Joins the world, trains, and leaves it in good order.
LocalResult run_local_worker(const Job& job, const WorldOptions& world, const Watch& watch);

// Runs the worker of a coordinator's world and reports; returns an exit code.
int run_with_coordinator(Job job, const JoinOptions& options, bool json);

int exit_code_of(const std::exception& error);

}  // namespace thinwire::launch
