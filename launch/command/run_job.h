// What train, launch and resume share: running a job and telling the user how it went.
#pragma once

#include <string>

#include "launch/launcher/launcher.h"
#include "launch/progress_line.h"

namespace thinwire::launch {

// How the world of a run was started, kept in RUN/launch.json for `resume`.
struct LaunchRecord {
  int workers = 1;
  std::string hosts;
};
void write_launch_record(const std::string& run_dir, const LaunchRecord& record);
// A run without the file was one worker's. Throws std::runtime_error that names a damaged file.
LaunchRecord read_launch_record(const std::string& run_dir);

// Throws UsageError that names `thinwire resume` if the folder holds a run.
void refuse_used_folder(const std::string& run_dir);

// " (to go on from the newest checkpoint: thinwire resume DIR)", or "" if there is no checkpoint.
std::string resume_hint(const std::string& run_dir);

// Progress goes to standard output, or to standard error where that is for JSON alone.
Watch make_watch(ProgressLine& line);
std::FILE* progress_stream(bool json);

// The last lines of a run, or its summary as JSON on standard output.
void report_end(const trainer::RunResult& result, const std::string& run_dir, bool json);

// Starts the job by the launcher of its backend and reports; returns an exit code.
int run_job(const Job& job, bool json);

}  // namespace thinwire::launch
