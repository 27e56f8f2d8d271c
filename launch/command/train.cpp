// One worker in this process: alone, in the world that mpirun started, or in that of a coordinator.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
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
  bool overwrite = false;
  bool dry_run = false;
  bool json = false;
  bool worker = false;
  JoinOptions world;
};

int dry_run(const Job& job, const TrainOptions& options) {
  if (!options.world.coordinator.empty())
    throw UsageError(
        "--dry-run: only the coordinator knows how many workers there are; use `thinwire launch CONFIG -n N "
        "--dry-run`");
  if (!job.overwrite) refuse_used_folder(job.options.run.dir, false);
  const int workers = std::max(1, surrounding_size());
  return report_dry_run(job, forecast_of_processes(job, workers, surrounding_size_here()), options.json);
}

int run_train(const TrainOptions& options) {
  if (options.worker) return run_as_worker();
  if (options.config.empty()) throw UsageError("config is required");
  std::vector<std::string> notes;
  const Job job{.options = load_config(options.config, options.overrides, &notes),
                .workers = 0,
                .overwrite = options.overwrite};
  const bool has_coordinator = !options.world.coordinator.empty();
  const bool leads = surrounding_rank() == 0;
  if (options.dry_run) return leads ? dry_run(job, options) : kSuccess;
  if (has_coordinator || leads) refuse_used_folder(job.options.run.dir, job.overwrite);
  if (leads)
    for (const std::string& note : notes) standard_error().write(note + "\n", LineWriter::Kind::kKept);
  if (has_coordinator) return run_with_coordinator(job, options.world, options.json);
  return run_here(job, surrounding_world(job), options.json);
}

}  // namespace

Run declare_train(const CommandLine& line) {
  auto options = std::make_shared<TrainOptions>();
  line.option("config", options->config, "The config file (see docs/config.md)");
  line.option("--set", options->overrides, "section.key=value, over the file").once_each();
  line.flag("--overwrite", options->overwrite, "Begin anew in the folder of a run; what goes is said");
  line.flag("--dry-run", options->dry_run, "Say what the run will need and send, and do nothing else");
  line.flag("--json", options->json, "The summary, or what a dry run says, as JSON on standard output");
  line.flag("--worker", options->worker, "").hidden();  // between launcher and worker
  add_join_options(line, options->world);
  return [options] { return run_train(*options); };
}

}  // namespace thinwire::launch
