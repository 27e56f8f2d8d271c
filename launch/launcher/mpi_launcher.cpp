// Workers as processes that mpirun starts, on this machine or on several.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>

#include "launch/launcher/child_process.h"
#include "launch/launcher/launcher.h"
#include "launch/launcher/mpirun.h"
#include "launch/launcher/stop_request.h"
#include "launch/launcher/user_output.h"
#include "launch/launcher/worker_protocol.h"
#include "launch/launcher/worker_reports.h"
#include "launch/stop_signals.h"

namespace thinwire::launch {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// mpirun has this long to end a broken job, then to notice that its processes are gone.
constexpr auto kPatience = 3s;

// Names that start with THINWIRE_ or MKL_, of this process's environment, and those of `entries`.
std::vector<std::string> forwarded_names(const std::vector<std::string>& entries) {
  std::vector<std::string> names;
  for (const std::string& entry : entries) names.push_back(entry.substr(0, entry.find('=')));
  for (char** own = environ; *own != nullptr; ++own) {
    const std::string name(*own, std::strcspn(*own, "="));
    const bool ours = name.starts_with("THINWIRE_") || name.starts_with("MKL_");
    if (ours && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

// A job under mpirun: relays what it says, passes signals on, finds out who died.
class MpiJob {
 public:
  MpiJob(std::vector<std::string> command, const std::vector<std::string>& environment, Signals signals)
      : child_(std::move(command), environment, Input::kNone, signals) {}
  virtual ~MpiJob() = default;

  // Returns when all ended well, or were stopped; else throws JobFailed.
  void watch() {
    while (read_lines()) {
      heed_signals();
      if (broken_since_ && steady_clock::now() - *broken_since_ > kPatience) end_at_once();
    }
    const int status = child_.wait();
    const bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    // mpirun's code after a stop is about how it ended its processes; the workers have said how it went.
    const bool stopped = request_.early() || (request_.signal() != 0 && was_stopped());
    if (!well && !stopped) fail(status);
  }

  const StopRequest& request() const { return request_; }

 protected:
  virtual void on_worker_line(Stream stream, int rank, std::string_view text) = 0;
  // A line of mpirun itself, or of a program whose lines carry no rank.
  virtual void on_plain_line(Stream stream, std::string_view line) = 0;
  virtual void say(const std::string& text) = 0;
  // The workers train: a request to stop is theirs to answer.
  virtual bool begun() const { return true; }
  virtual int signal_of_workers() const { return 0; }
  // They have said that they stopped.
  virtual bool was_stopped() const { return false; }
  // False, after a moment, while what they say cannot be handed on.
  virtual bool can_take_lines() const { return true; }
  virtual std::string host_of(int /*rank*/) const { return {}; }
  // What the worker that broke the job said last, and its exit code.
  virtual std::optional<JobFailed> last_words() const { return std::nullopt; }
  // Open MPI's own lines, where they were not shown.
  virtual std::vector<std::string> unseen_lines() const { return {}; }
  // SIGUSR1 is what mpirun hands to every process; SIGTERM, where it is not shielded, makes it kill them.
  virtual int stop_signal() const = 0;

  void note_break() {
    if (!broken_since_) broken_since_ = steady_clock::now();
  }

 private:
  bool read_lines() {
    if (!can_take_lines()) return true;
    return child_.read_lines(100ms, [this](Stream stream, std::string_view line) { on_line(stream, line); });
  }

  void on_line(Stream stream, std::string_view line) {
    if (const auto tagged = parse_tagged(line)) {
      on_worker_line(stream, tagged->rank, tagged->text);
    } else {
      if (stream == Stream::kError) notice_.read(line);
      if (notice_.death()) note_break();
      on_plain_line(stream, line);
    }
  }

  void heed_signals() {
    const auto todo = request_.look(
        {.own = stop_.signal(), .again = stop_.again(), .of_workers = signal_of_workers(), .begun = begun()});
    if (todo.announce && !broken_since_) say(stopping_text(request_.signal()));
    if (todo.pass_on) child_.signal(stop_signal());
    if (todo.end_all) end_at_once();
  }

  // mpirun notices that its processes are gone, ends those on other hosts, and cleans up. If it does not, it
  // goes itself, and they with it.
  void end_at_once() {
    child_.signal_children(SIGKILL);
    if (!ending_since_) ending_since_ = steady_clock::now();
    if (steady_clock::now() - *ending_since_ > kPatience) child_.signal_group(SIGKILL);
  }

  [[noreturn]] void fail(int status) {
    if (const int again = request_.again())
      throw JobFailed("ended at once by a second signal", exit_code_of_signal(again));
    const std::optional<WorkerEnd>& death = notice_.death();
    // A program that does not take the signal for itself dies of it.
    const int code = request_.signal() != 0 ? exit_code_of_signal(request_.signal()) : int{kRunFailed};
    if (death && death->signal != 0) throw JobFailed(describe(*death), code);
    if (const auto words = last_words()) throw *words;
    if (death) {
      WorkerEnd end = *death;
      end.host = host_of(end.rank);
      throw JobFailed(describe(end), code);
    }
    throw_if_stopped(request_);
    const std::string how = WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                                                : fmt::format("ended with exit code {}", WEXITSTATUS(status));
    throw JobFailed(failure_of_mpirun(how, unseen_lines()));
  }

  const StopSignals stop_{{.again_ends = false}};
  StopRequest request_;
  ChildProcess child_;
  DeathNotice notice_;
  std::optional<steady_clock::time_point> broken_since_;  // a worker died or said that it fails
  std::optional<steady_clock::time_point> ending_since_;
};

// Workers of this program, which speak the worker protocol.
class WorkerJob final : public MpiJob {
 public:
  WorkerJob(const Watch& watch, std::vector<std::string> command, const std::vector<std::string>& environment)
      : MpiJob(std::move(command), environment, Signals::kShielded), watch_(watch), reports_(watch) {}

  trainer::RunResult result() const { return result_of(request(), reports_); }

 protected:
  void on_worker_line(Stream stream, int rank, std::string_view text) override {
    if (stream == Stream::kError && is_of_open_mpi(text)) return on_plain_line(stream, text);
    reports_.read(stream, rank, text);
    if (reports_.error()) note_break();
  }
  void on_plain_line(Stream, std::string_view line) override {
    if (plain_lines_.size() < kMaxPlainLines) plain_lines_.emplace_back(line);
  }
  void say(const std::string& text) override { watch_.on_message(text); }
  bool begun() const override { return reports_.begun(); }
  int signal_of_workers() const override { return reports_.stopping(); }
  bool was_stopped() const override { return reports_.was_stopped(); }
  std::string host_of(int rank) const override { return reports_.host_of(rank); }
  std::optional<JobFailed> last_words() const override { return reports_.error(); }
  std::vector<std::string> unseen_lines() const override { return plain_lines_; }
  int stop_signal() const override { return SIGUSR1; }

 private:
  static constexpr std::size_t kMaxPlainLines = 1000;

  const Watch& watch_;
  WorkerReports reports_;
  std::vector<std::string> plain_lines_;
};

// A user's program: its output is the user's.
class UserJob final : public MpiJob {
 public:
  using MpiJob::MpiJob;

 protected:
  void on_worker_line(Stream stream, int, std::string_view text) override { on_plain_line(stream, text); }
  void on_plain_line(Stream stream, std::string_view line) override { relay(stream, line); }
  void say(const std::string&) override {}  // the program has its own words
  bool can_take_lines() const override { return reader_keeps_up(); }
  int stop_signal() const override { return SIGTERM; }
};

std::vector<std::string> joined_lists(std::vector<std::string> first,
                                      const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace

trainer::RunResult run_mpi(const Job& job, const Watch& watch) {
  const std::vector<std::string> environment = worker_environment(job);
  const MpiWorld world{.workers = job.workers, .hosts = job.hosts, .forwarded = forwarded_names(environment)};
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  WorkerJob workers(watch, joined_lists(mpirun_command(world, ::geteuid() == 0), {self, "train", "--worker"}),
                    environment);
  workers.watch();
  return workers.result();
}

void run_program_by_mpi(const ProgramJob& job) {
  const std::vector<std::string> environment = {
      "THINWIRE_BACKEND=" + job.comm.backend, "THINWIRE_LINK=" + job.comm.link,
      fmt::format("THINWIRE_TIMEOUT_S={}", job.comm.timeout_s), "OMP_WAIT_POLICY=PASSIVE"};
  const MpiWorld world{.workers = job.workers,
                       .hosts = job.hosts,
                       .tag_output = false,
                       .forwarded = forwarded_names(environment)};
  UserJob program(joined_lists(mpirun_command(world, ::geteuid() == 0), job.command), environment,
                  Signals::kDefault);
  program.watch();
  throw_if_stopped(program.request());
}

}  // namespace thinwire::launch
