// One worker in this process: alone, in the world that mpirun started, or in that of a coordinator.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <mutex>

#include "launch/command/command.h"
#include "launch/command/local_worker.h"
#include "launch/command/run_job.h"
#include "launch/config/config.h"
#include "launch/launcher/worker_protocol.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

// A failed worker ends its process at once: leaving the world in good order would wait for the others.
[[noreturn]] void leave_broken_world(int exit_code) {
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

// A whole line at once: several threads speak, and mpirun relays what it reads.
void say(const std::string& line) {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

// A worker that a launcher started and listens to.
int run_as_worker() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no worker outlives the starter that would report it
  say(hello_line());
  try {
    const char* job = std::getenv(kJobVariable);
    if (job == nullptr)
      throw UsageError(fmt::format("--worker: {} is not set; use thinwire launch", kJobVariable));
    const Job own = job_from_text(job);
    const LocalResult local =
        run_local_worker(own, surrounding_world(own),
                         {.on_progress = [](const auto& progress) { say(progress_line(progress)); },
                          .on_message = [](const auto& text) { say(warning_line(text)); }});
    if (local.rank == 0) say(end_line(local.result));
    return kSuccess;
  } catch (const std::exception& error) {
    say(error_line(error.what(), exit_code_of(error)));
    leave_broken_world(exit_code_of(error));
  }
}

int run_alone(const Job& job, bool json) {
  const bool leads = surrounding_rank() == 0;
  const std::string& run_dir = job.options.run.dir;
  if (leads) refuse_used_folder(run_dir);
  ProgressLine line(progress_stream(json));
  try {
    const LocalResult local = run_local_worker(job, surrounding_world(job), make_watch(line));
    line.close();
    if (leads) report_end(local.result, run_dir, json);
    return kSuccess;
  } catch (const std::exception& error) {
    line.close();
    if (surrounding_backend().empty()) throw;
    fmt::print(stderr, "thinwire train: worker {}: error: {}\n", surrounding_rank(), error.what());
    leave_broken_world(exit_code_of(error));
  }
}

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool json = false;
  bool worker = false;
  JoinOptions world;
};

int run_train(const TrainOptions& options) {
  if (options.worker) return run_as_worker();
  if (options.config.empty()) throw UsageError("config is required");
  const Job job{.options = load_config(options.config, options.overrides), .hosts = {}};
  if (options.world.coordinator.empty()) return run_alone(job, options.json);
  refuse_used_folder(job.options.run.dir);
  return run_with_coordinator(job, options.world, options.json);
}

}  // namespace

Run declare_train(const CommandLine& line) {
  auto options = std::make_shared<TrainOptions>();
  line.app.add_option("config", options->config, "The config file (see docs/config.md)");
  line.app.add_option("--set", options->overrides, "section.key=value, over the file")
      ->allow_extra_args(false);
  line.app.add_flag("--json", options->json, "The summary as JSON on standard output");
  line.app.add_flag("--worker", options->worker, "")->group("");  // between launcher and worker
  add_join_options(line.app, options->world);
  return [options] { return run_train(*options); };
}

}  // namespace thinwire::launch
