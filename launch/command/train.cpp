// One worker in this process: alone, in the world that mpirun started, or in that of a coordinator.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>

#include "launch/command/command.h"
#include "launch/command/local_worker.h"
#include "launch/command/run_job.h"
#include "launch/config/config.h"
#include "launch/error_words.h"
#include "launch/launcher/worker_protocol.h"
#include "launch/line_writer.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

// To the launcher, a whole line at once: several threads speak, and mpirun relays what it reads. A launcher
// may stand still for a while (Ctrl-Z); the training does not.
void say(const std::string& line, LineWriter::Kind kind = LineWriter::Kind::kKept) {
  standard_output().write(line + "\n", kind);
}

// What the launcher has passed on is no news to it.
void tell_of_signal(int signal, bool passed_on) {
  if (!passed_on) say(stopping_line(signal));
}

LocalResult run_watched(const Job& job, const StopSignals& stop) {
  return run_local_worker(
      job, surrounding_world(job), stop,
      {.on_join = [](int, int) {},
       .on_begin = [](std::int64_t step) { say(begun_line(step)); },
       .on_progress = [](const auto& progress) { say(progress_line(progress), LineWriter::Kind::kPassing); },
       .on_notice = [](const auto& text) { say(notice_line(text)); },
       .on_warning = [](const auto& text) { say(warning_line(text)); }});
}

// A worker that a launcher started and listens to.
int run_as_worker() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no worker outlives the starter that would report it
  ignore_closed_pipes();
  try {
    const char* text = std::getenv(kJobVariable);
    if (text == nullptr)
      throw UsageError(fmt::format("--worker: {} is not set; use thinwire launch", kJobVariable));
    if (launcher_ignores_hangup(text)) ::signal(SIGHUP, SIG_IGN);
    const StopSignals stop({.starter_passes_on = true, .on_request = tell_of_signal});
    say(hello_line());
    const LocalResult local = run_watched(job_from_text(text), stop);
    if (local.rank == 0) say(end_line(local.result));
    return kSuccess;  // how it ended stands in the line
  } catch (const std::exception& error) {
    say(error_line(words_of(error), exit_code_of(error), !is_consequence(error)));
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
  const Job job{.options = load_config(options.config, options.overrides), .workers = 0};
  const bool has_coordinator = !options.world.coordinator.empty();
  if (has_coordinator || surrounding_rank() == 0) refuse_used_folder(job.options.run.dir);
  if (has_coordinator) return run_with_coordinator(job, options.world, options.json);
  return run_here(job, surrounding_world(job), options.json);
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
