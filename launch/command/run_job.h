// What train, launch and resume share: running a job and telling the user how it went.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launch/launcher/launcher.h"
#include "launch/progress_line.h"

namespace thinwire::launch {

// Throws UsageError that names `thinwire resume` and --overwrite if the folder holds a run. overwrite: it
// may, but none that is under way.
void refuse_used_folder(const std::string& run_dir, bool overwrite);

// What goes with --overwrite, a line each; empty where the folder holds no run.
std::string overwrite_text(const std::string& run_dir);

// What is told of a run that starts at step 0 before it starts. Throws UsageError if it cannot fit into the
// memory of this machine, and what plan_run throws.
struct Forecast {
  std::string text;
  nlohmann::json json;
};
Forecast forecast(const Job& job);
// The same for a world of `workers`, of which workers_here, 0 if that is not known, are processes of this
// machine.
Forecast forecast_of_processes(const Job& job, int workers, int workers_here);

// What launch and train say with --dry-run; returns an exit code.
int report_dry_run(const Job& job, const Forecast& forecast, bool json);

// The message, and how to go on from the newest checkpoint if there is one and the message does not say how.
std::string with_resume_hint(const std::string& message, const std::string& run_dir);

// Progress goes to standard output, or to standard error where that is for JSON alone.
ProgressLine progress_line_of(bool json);

// 0, or 128 + the signal that stopped it.
int exit_code_of_run(const trainer::RunResult& result);

// The last lines of a run, or its summary as JSON on standard output.
void report_end(const trainer::RunResult& result, const std::string& run_dir, bool json);

// Of a run that a signal stopped before its first step: reports and ends the process, other threads or not.
[[noreturn]] void leave_early(int signal, const std::string& run_dir, bool json);

// Starts the job by the launcher of its backend and reports; returns an exit code. notes: for the user, of
// the config.
int run_job(const Job& job, bool json, const std::vector<std::string>& notes = {});

}  // namespace thinwire::launch
