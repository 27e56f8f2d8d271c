// One worker in this process: alone, or in the world that mpirun started.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <mutex>

#include "launch/command/command.h"
#include "launch/command/run_job.h"
#include "launch/compute_settings.h"
#include "launch/config/config.h"
#include "launch/launcher/worker_protocol.h"
#include "launch/stop_signals.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

// Runs a worker of the surrounding world and leaves it in good order.
trainer::RunResult run_here(const Job& job, const Watch& watch) {
  const StopSignals stop(StopSignals::Second::kEndsAtOnce);
  settle_threads(job.options.run.threads);
  const auto engine = join_world({.backend = joined_backend(job.options.comm.backend),
                                  .link = job.options.comm.link,
                                  .timeout_s = job.options.comm.timeout_s});
  trainer::WorkerContext context;
  context.options = job.options;
  context.config_toml = to_toml(job.options);
  context.resume = job.resume;
  context.engine = engine.get();
  context.stop = &stop.requested();
  context.on_progress = watch.on_progress;
  context.on_warning = watch.on_message;
  trainer::RunResult result = trainer::run_worker(context);
  engine->stop();
  return result;
}

// A failed worker ends its process at once: leaving the world in good order would wait for the others.
[[noreturn]] void leave_broken_world(int exit_code) {
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

int exit_code_of(const std::exception& error) {
  const bool bad_setting = dynamic_cast<const std::invalid_argument*>(&error) != nullptr ||
                           dynamic_cast<const ConfigError*>(&error) != nullptr;
  return bad_setting ? kUsage : kRunFailed;
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
    const trainer::RunResult result = run_here(
        job_from_text(job), {.on_progress = [](const auto& progress) { say(progress_line(progress)); },
                             .on_message = [](const auto& text) { say(warning_line(text)); }});
    if (surrounding_rank() == 0) say(end_line(result));
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
    const trainer::RunResult result = run_here(job, make_watch(line));
    line.close();
    if (leads) report_end(result, run_dir, json);
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
};

}  // namespace

Run declare_train(const CommandLine& line) {
  auto options = std::make_shared<TrainOptions>();
  line.app.add_option("config", options->config, "The config file (see docs/config.md)");
  line.app.add_option("--set", options->overrides, "section.key=value, over the file")
      ->allow_extra_args(false);
  line.app.add_flag("--json", options->json, "The summary as JSON on standard output");
  line.app.add_flag("--worker", options->worker, "")->group("");  // between launcher and worker
  return [options] {
    if (options->worker) return run_as_worker();
    if (options->config.empty()) throw UsageError("config is required");
    return run_alone({.options = load_config(options->config, options->overrides), .hosts = {}},
                     options->json);
  };
}

}  // namespace thinwire::launch
