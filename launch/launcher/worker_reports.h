// What a launcher makes of its workers' lines (launcher/worker_protocol.h): relays progress, notices and
// warnings, keeps hosts, the error that broke the job and the result. Shared by the launchers that start
// processes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "launch/errors.h"
#include "launch/launcher/child_process.h"
#include "launch/launcher/launcher.h"
#include "launch/launcher/stop_request.h"
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

class WorkerReports;
// Of a job that ended well: the workers' own, with the signal that the launcher heard if it did.
trainer::RunResult result_of(const StopRequest& request, const WorkerReports& reports);

// Thread safety: none.
class WorkerReports {
 public:
  explicit WorkerReports(const Watch& watch) : watch_(watch) {}  // of the launcher's caller, who waits for it

  // A line of a worker; foreign ones are shown under its name.
  void read(Stream stream, int rank, std::string_view text);

  // A worker trains; they begin together.
  bool begun() const { return begun_; }
  // A signal that a worker heard and the launcher did not send; 0: none.
  int stopping() const { return stopping_; }
  std::string host_of(int rank) const;
  // What the worker that broke the job said, and its exit code: the first that was no other's victim.
  const std::optional<JobFailed>& error() const { return error_; }
  bool was_stopped() const { return result_ && result_->end == trainer::RunEnd::kStopped; }
  // Throws JobFailed if worker 0 gave none.
  trainer::RunResult result() const;

 private:
  void on_error(int rank, const WorkerMessage& message);

  const Watch& watch_;
  std::map<int, std::string> hosts_;  // of the workers that have started
  bool begun_ = false;
  int stopping_ = 0;
  std::optional<JobFailed> error_;
  bool error_is_cause_ = false;
  std::optional<trainer::RunResult> result_;
};

}  // namespace thinwire::launch
