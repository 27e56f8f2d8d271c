#include "launch/command/run_job.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "comm/backend/backend.h"
#include "launch/command/plan_report.h"
#include "launch/error_words.h"
#include "launch/line_writer.h"
#include "launch/machine_memory.h"
#include "launch/quantity.h"
#include "launch/stop_signals.h"
#include "launch/world.h"
#include "trainer/plan.h"
#include "trainer/run_folder.h"
#include "trainer/run_removal.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

// A figure of the summary; NaN stands as null.
double figure(const json& summary, const char* name) {
  const auto found = summary.find(name);
  return found == summary.end() || !found->is_number() ? std::nan("") : found->get<double>();
}

std::string summary_text(const json& summary, const std::string& run_dir) {
  return fmt::format("finished {}: {} steps on {} workers in {}\n", run_dir, summary.value("steps", 0),
                     summary.value("workers", 0), short_duration(figure(summary, "wall_seconds"))) +
         fmt::format("  evaluation loss      {:.4f} nats per token, {:.4f} bits per byte\n",
                     figure(summary, "eval_loss"), figure(summary, "eval_bits_per_byte")) +
         fmt::format("  sent by each worker  {}B\n", short_number(figure(summary, "wire_bytes_per_worker"))) +
         fmt::format("  compute utilisation  {:.3f} at {:.3g} workers per core\n",
                     figure(summary, "compute_utilization"), figure(summary, "workers_per_core")) +
         fmt::format("  digest               {}\n", summary.value("outer_digest", ""));
}

std::string stopped_text(const trainer::RunResult& result, const std::string& run_dir) {
  const std::string by = result.stop_signal == 0 ? "" : " by " + signal_name(result.stop_signal);
  if (result.step != kBeforeFirstStep) {
    return fmt::format("stopped{} at step {}, checkpoint written; go on with: thinwire resume {}\n", by,
                       result.step, run_dir);
  }
  const std::string onward = trainer::holds_run(run_dir) ? "go on with: thinwire resume " + run_dir
                                                         : std::string("start it again as before");
  return fmt::format("stopped{} before it trained, nothing is lost; {}\n", by, onward);
}

json stopped_json(const trainer::RunResult& result, const std::string& run_dir) {
  json stopped = {{"stopped_at", nullptr}, {"signal", result.stop_signal}, {"dir", run_dir}};
  if (result.step != kBeforeFirstStep) stopped["stopped_at"] = result.step;
  return stopped;
}

std::string json_text(const json& object) {
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// What this host does not have, another may.
void tell_forecast(const Job& job, ProgressLine& line) {
  try {
    line.message(forecast(job).text);
  } catch (const std::exception& error) {
    if (job.hosts.empty()) throw;
    line.message(fmt::format("what the run needs is not known here: {}", words_of(error)));
  }
  const std::string goes = job.overwrite ? overwrite_text(job.options.run.dir) : "";
  if (!goes.empty()) line.message(goes);
}

Forecast forecast_at(const trainer::Options& options, const PlanPlace& place) {
  const trainer::RunPlan plan = trainer::plan_run(options, place.workers);
  require_memory(plan, place);
  return {plan_text(plan, place), plan_json(plan, place)};
}

std::string first_line(const Job& job) {
  return fmt::format("{} {} worker{} ({}); run folder {}", job.resume ? "resuming" : "starting", job.workers,
                     job.workers == 1 ? "" : "s", job.options.comm.backend, job.options.run.dir);
}

}  // namespace

void refuse_used_folder(const std::string& run_dir, bool overwrite) {
  if (!trainer::holds_run(run_dir)) return;
  if (overwrite) {
    const trainer::RunLock nobody_else(run_dir);
    return;
  }
  throw UsageError(
      fmt::format("{} holds a run already; go on with it by `thinwire resume {}`, begin anew in its place by "
                  "--overwrite, or choose another run.dir",
                  run_dir, run_dir));
}

std::string overwrite_text(const std::string& run_dir) {
  if (!trainer::holds_run(run_dir)) return "";
  std::string text = fmt::format("the run in {} goes when this one begins:", run_dir);
  for (const trainer::RunItem& item : trainer::run_items(run_dir))
    text += fmt::format("\n  {}, {}B", item.what, short_number(static_cast<double>(item.bytes)));
  return text;
}

Forecast forecast(const Job& job) {
  // Workers of other hosts are not counted here.
  const bool is_local = job.hosts.empty();
  return forecast_at(job.options, {.workers = job.workers,
                                   .workers_here = is_local ? job.workers : 0,
                                   .own_processes = job.options.comm.backend != "threads",
                                   .available = is_local ? available_memory() : std::nullopt});
}

Forecast forecast_of_processes(const Job& job, int workers, int workers_here) {
  return forecast_at(job.options, {.workers = workers,
                                   .workers_here = workers_here,
                                   .own_processes = true,
                                   .available = available_memory()});
}

int report_dry_run(const Job& job, const Forecast& forecast, bool json) {
  const std::string goes = job.overwrite ? overwrite_text(job.options.run.dir) : "";
  const std::string text = fmt::format("nothing is started (--dry-run); run folder {}\n{}{}{}\n",
                                       job.options.run.dir, goes, goes.empty() ? "" : "\n", forecast.text);
  standard_output().write(json ? json_text(forecast.json) : text, LineWriter::Kind::kKept);
  return kSuccess;
}

std::string with_resume_hint(const std::string& message, const std::string& run_dir) {
  const std::filesystem::path checkpoints = std::filesystem::path(run_dir) / "checkpoints";
  std::error_code none;
  const bool has_checkpoint =
      std::filesystem::is_directory(checkpoints, none) && !std::filesystem::is_empty(checkpoints, none);
  const bool knows_a_way = message.find("thinwire resume") != std::string::npos;
  if (!has_checkpoint || knows_a_way) return message;
  return fmt::format("{}; to go on from the newest checkpoint: thinwire resume {}", message, run_dir);
}

ProgressLine progress_line_of(bool json_wanted) {
  const int fd = json_wanted ? STDERR_FILENO : STDOUT_FILENO;
  std::fflush(json_wanted ? stderr : stdout);
  // mpirun gives its processes a terminal of its own, wherever its output goes.
  const bool is_terminal = ::isatty(fd) == 1 && !is_one_of_several();
  return {json_wanted ? standard_error() : standard_output(), is_terminal};
}

int exit_code_of_run(const trainer::RunResult& result) {
  if (result.end == trainer::RunEnd::kFinished) return kSuccess;
  return exit_code_of_signal(result.stop_signal == 0 ? SIGTERM : result.stop_signal);
}

void report_end(const trainer::RunResult& result, const std::string& run_dir, bool json_wanted) {
  const bool finished = result.end == trainer::RunEnd::kFinished;
  const std::string text = json_wanted ? json_text(finished ? result.summary : stopped_json(result, run_dir))
                           : finished  ? summary_text(result.summary, run_dir)
                                       : stopped_text(result, run_dir);
  standard_output().write(text, LineWriter::Kind::kKept);
}

void leave_early(int signal, const std::string& run_dir, bool json_wanted) {
  const trainer::RunResult result{
      .end = trainer::RunEnd::kStopped, .step = kBeforeFirstStep, .stop_signal = signal, .summary = {}};
  report_end(result, run_dir, json_wanted);
  flush_standard_writers();
  std::_Exit(exit_code_of_run(result));
}

int run_job(const Job& job, bool json_wanted, const std::vector<std::string>& notes) {
  const std::string& run_dir = job.options.run.dir;
  const Launcher& launcher = find_launcher(job.options.comm.backend);
  // Other hosts may have what this one lacks; their workers say so themselves.
  if (job.hosts.empty()) comm::require_backend(job.options.comm.backend);
  ignore_closed_pipes();
  ProgressLine line = progress_line_of(json_wanted);
  line.message(first_line(job));
  for (const std::string& note : notes) line.message(note);
  if (!job.resume) tell_forecast(job, line);
  try {
    const trainer::RunResult result =
        launcher.run(job, {.on_progress = [&](const trainer::Progress& progress) { line.show(progress); },
                           .on_message = [&](const std::string& text) { line.message(text); },
                           .on_early_stop =
                               [&](int signal) {
                                 line.close();
                                 leave_early(signal, run_dir, json_wanted);
                               }});
    line.close();
    report_end(result, run_dir, json_wanted);
    return exit_code_of_run(result);
  } catch (const JobFailed& failure) {
    line.close();
    throw JobFailed(with_resume_hint(failure.what(), run_dir), failure.exit_code());
  }
}

}  // namespace thinwire::launch
