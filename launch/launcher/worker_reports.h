// What a launcher makes of its workers' lines (launcher/worker_protocol.h): relays progress and warnings,
// keeps hosts, the first error and the result. Shared by the launchers that start processes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "launch/errors.h"
#include "launch/launcher/child_process.h"
#include "launch/launcher/launcher.h"
#include "launch/launcher/worker_protocol.h"

namespace thinwire::launch {

// How a worker's process ended.
struct WorkerEnd {
  int rank = -1;
  std::string host;  // empty: not known
  int signal = 0;
  int exit_code = 0;
};

// "worker 1 on host tokyo was killed by signal 9 (Killed)"
std::string describe(const WorkerEnd& end);

// Thread safety: none.
class WorkerReports {
 public:
  explicit WorkerReports(const Watch& watch) : watch_(watch) {}  // of the launcher's caller, who waits for it

  // A line of a worker; foreign ones are shown under its name.
  void read(Stream stream, int rank, std::string_view text);

  int num_started() const { return static_cast<int>(hosts_.size()); }
  std::string host_of(int rank) const;
  // What the worker that broke the job said, and its exit code.
  const std::optional<JobFailed>& first_error() const { return first_error_; }
  // Throws JobFailed if worker 0 gave none.
  trainer::RunResult result() const;

 private:
  void on_error(int rank, const WorkerMessage& message);

  const Watch& watch_;
  std::map<int, std::string> hosts_;  // of the workers that have started
  std::optional<JobFailed> first_error_;
  std::optional<trainer::RunResult> result_;
};

}  // namespace thinwire::launch
