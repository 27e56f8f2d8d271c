// How the world of a run was started, kept in RUN/launch.json for `resume`. Worker 0 writes it when the run
// begins.
#pragma once

#include <optional>
#include <string>

#include "launch/launcher/launcher.h"

namespace thinwire::launch {

struct LaunchRecord {
  int workers = 0;    // 0: not known
  std::string hosts;  // an absolute path; empty: this machine
};

// The text of the file: the record, and backend and link for a reader.
std::string launch_record_text(const Job& job, int workers);
// No record (0 workers) where there is no file. Throws std::runtime_error that names a file that is damaged
// or no plain file.
LaunchRecord read_launch_record(const std::string& run_dir);

// The number of workers that the newest readable checkpoint names; nullopt where there is none.
std::optional<int> workers_of_checkpoints(const std::string& run_dir);

}  // namespace thinwire::launch
