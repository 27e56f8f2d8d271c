// What train, launch and resume share: running a job and telling the user how it went.
#pragma once

#include <string>

#include "launch/launcher/launcher.h"
#include "launch/progress_line.h"

namespace thinwire::launch {

// Throws UsageError that names `thinwire resume` if the folder holds a run.
void refuse_used_folder(const std::string& run_dir);

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

// Starts the job by the launcher of its backend and reports; returns an exit code.
int run_job(const Job& job, bool json);

}  // namespace thinwire::launch
