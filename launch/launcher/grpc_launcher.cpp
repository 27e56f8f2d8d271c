// Workers as processes on this machine that meet at a coordinator of our own, on loopback.
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "comm/backend/grpc/coordinator.h"
#include "launch/launcher/child_process.h"
#include "launch/launcher/launcher.h"
#include "launch/launcher/stop_request.h"
#include "launch/launcher/user_output.h"
#include "launch/launcher/worker_protocol.h"
#include "launch/launcher/worker_reports.h"
#include "launch/stop_signals.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// When a worker has broken the job, the others have this long to say so and end.
constexpr auto kPatience = 3s;

std::string random_token() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", device(), device(), device(), device());
}

comm::CoordinatorOptions coordinator_options(int workers, double timeout_s, const std::string& token) {
  comm::CoordinatorOptions options;
  options.workers = workers;
  options.token = token;
  options.join_timeout_s =
      timeout_s + 60;  // starting a process with LibTorch takes seconds on a busy machine
  options.silence_s = timeout_s;
  return options;
}

// The processes of a job and the coordinator where they meet.
class ProcessJob {
 public:
  struct Start {
    std::vector<std::string> command;
    std::vector<std::string> environment;
    int workers = 1;
    double timeout_s = 60;
  };
  explicit ProcessJob(const Start& start)
      : token_(random_token()), coordinator_(coordinator_options(start.workers, start.timeout_s, token_)) {
    for (int rank = 0; rank < start.workers; ++rank) {
      std::vector<std::string> environment = start.environment;
      environment.push_back(std::string(kCoordinatorVariable) + "=" + coordinator_.address());
      environment.push_back(std::string(kTokenVariable) + "=" + token_);
      environment.push_back(fmt::format("{}={}", kRankVariable, rank));
      workers_.push_back({.process = std::make_unique<ChildProcess>(start.command, environment)});
    }
  }
  virtual ~ProcessJob() = default;

  // Returns when all ended well, or were stopped before they trained; else throws JobFailed.
  void watch() {
    while (read_all()) {
      heed_signals();
      if (broken_since_ && steady_clock::now() - *broken_since_ > kPatience) signal_all(SIGKILL);
    }
    if (request_.early()) return;
    if (const int again = request_.again())
      throw JobFailed("ended at once by a second signal", exit_code_of_signal(again));
    if (first_end_ && first_end_->signal != 0) throw JobFailed(describe(*first_end_), code_of(*first_end_));
    if (const auto words = last_words()) throw *words;
    if (first_end_) throw JobFailed(describe(*first_end_), code_of(*first_end_));
  }

  const StopRequest& request() const { return request_; }

 protected:
  virtual void on_line(Stream stream, int rank, std::string_view text) = 0;
  virtual void say(const std::string& text) = 0;
  // The workers train: a request to stop is theirs to answer.
  virtual bool begun() const { return true; }
  virtual int signal_of_workers() const { return 0; }
  // False, after a moment, while what they say cannot be handed on.
  virtual bool can_take_lines() const { return true; }
  virtual std::string host_of(int /*rank*/) const { return {}; }
  // What the worker that broke the job said last, and its exit code.
  virtual std::optional<JobFailed> last_words() const { return std::nullopt; }

  void note_break() {
    if (!broken_since_) broken_since_ = steady_clock::now();
  }
  int num_workers() const { return static_cast<int>(workers_.size()); }

 private:
  struct Worker {
    std::unique_ptr<ChildProcess> process;
    bool ended = false;
  };

  // What the workers say, each in its turn. False when all have ended.
  bool read_all() {
    const auto turn = std::max(1ms, 50ms / num_workers());
    bool any = false;
    for (int rank = 0; rank < num_workers(); ++rank) {
      Worker& worker = workers_[static_cast<std::size_t>(rank)];
      if (worker.ended) continue;
      any = true;
      if (!can_take_lines()) continue;
      const bool open = worker.process->read_lines(
          turn, [&](Stream stream, std::string_view line) { on_line(stream, rank, line); });
      if (!open) on_end(rank);
    }
    return any;
  }

  void on_end(int rank) {
    Worker& worker = workers_[static_cast<std::size_t>(rank)];
    worker.ended = true;
    const int status = worker.process->wait();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    note_break();
    const WorkerEnd end{.rank = rank,
                        .host = host_of(rank),
                        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                        .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0};
    // A worker that ended by itself may be seen before the one whose death was the cause.
    const bool better = !first_end_ || (first_end_->signal == 0 && end.signal != 0 && !killing_);
    if (better) first_end_ = end;
  }

  void heed_signals() {
    const auto todo = request_.look(
        {.own = stop_.signal(), .again = stop_.again(), .of_workers = signal_of_workers(), .begun = begun()});
    if (todo.announce && !broken_since_) say(stopping_text(request_.signal()));
    if (todo.pass_on) signal_all(SIGTERM);
    if (todo.end_all) signal_all(SIGKILL);
  }

  // A worker that a signal ended after a request to stop makes the job one that was stopped.
  int code_of(const WorkerEnd& end) const {
    const int signal = end.signal != 0 ? end.signal : end.exit_code - exit_code_of_signal(0);
    const bool of_stop = signal == SIGINT || signal == SIGTERM || signal == SIGHUP;
    return request_.signal() != 0 && of_stop ? exit_code_of_signal(request_.signal()) : kRunFailed;
  }

  void signal_all(int number) {
    killing_ |= number == SIGKILL;
    for (const Worker& worker : workers_) {
      if (!worker.ended) worker.process->signal_group(number);
    }
  }

  const StopSignals stop_{{.again_ends = false}};
  StopRequest request_;
  const std::string token_;
  comm::Coordinator coordinator_;
  std::vector<Worker> workers_;  // by rank
  bool killing_ = false;
  std::optional<steady_clock::time_point> broken_since_;  // a worker died or said that it fails
  std::optional<WorkerEnd> first_end_;                    // of those that did not end well
};

// Workers of this program, which speak the worker protocol.
class WorkerJob final : public ProcessJob {
 public:
  WorkerJob(const Start& start, const Watch& watch) : ProcessJob(start), watch_(watch), reports_(watch) {}

  trainer::RunResult result() const { return result_of(request(), reports_); }

 protected:
  void on_line(Stream stream, int rank, std::string_view text) override {
    reports_.read(stream, rank, text);
    if (reports_.error()) note_break();
  }
  void say(const std::string& text) override { watch_.on_message(text); }
  bool begun() const override { return reports_.begun(); }
  int signal_of_workers() const override { return reports_.stopping(); }
  std::string host_of(int rank) const override { return reports_.host_of(rank); }
  std::optional<JobFailed> last_words() const override { return reports_.error(); }

 private:
  const Watch& watch_;
  WorkerReports reports_;
};

// A user's program: its output is the user's.
class UserJob final : public ProcessJob {
 public:
  using ProcessJob::ProcessJob;

 protected:
  void on_line(Stream stream, int, std::string_view text) override { relay(stream, text); }
  void say(const std::string&) override {}  // the program has its own words
  bool can_take_lines() const override { return reader_keeps_up(); }
};

void refuse_hosts(const std::string& hosts) {
  if (hosts.empty()) return;
  throw UsageError(
      "--hosts: the launcher of grpc starts processes on this machine; on several, start `thinwire "
      "coordinator`, and "
      "`thinwire train --coordinator HOST:PORT` on each host");
}

}  // namespace

trainer::RunResult run_grpc(const Job& job, const Watch& watch) {
  refuse_hosts(job.hosts);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  WorkerJob workers({.command = {self, "train", "--worker"},
                     .environment = worker_environment(job),
                     .workers = job.workers,
                     .timeout_s = job.options.comm.timeout_s},
                    watch);
  workers.watch();
  return workers.result();
}

void run_program_by_grpc(const ProgramJob& job) {
  refuse_hosts(job.hosts);
  UserJob program(
      {.command = job.command,
       .environment = {"THINWIRE_BACKEND=grpc", "THINWIRE_LINK=" + job.comm.link,
                       fmt::format("THINWIRE_TIMEOUT_S={}", job.comm.timeout_s), "OMP_WAIT_POLICY=PASSIVE"},
       .workers = job.workers,
       .timeout_s = job.comm.timeout_s});
  program.watch();
  throw_if_stopped(program.request());
}

}  // namespace thinwire::launch
