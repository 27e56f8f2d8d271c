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
#include "launch/launcher/worker_protocol.h"
#include "launch/launcher/worker_reports.h"
#include "launch/stop_signals.h"

namespace thinwire::launch {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// mpirun has this long to end a broken job, then to heed SIGTERM.
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
  MpiJob(std::vector<std::string> command, const std::vector<std::string>& environment, int workers)
      : child_(std::move(command), environment), workers_(workers) {}
  virtual ~MpiJob() = default;

  // Returns when all ended well, else throws JobFailed.
  void watch() {
    while (
        child_.read_lines(100ms, [this](Stream stream, std::string_view line) { on_line(stream, line); })) {
      pass_signals_on();
      if (broken_since_ && steady_clock::now() - *broken_since_ > kPatience) end_at_once();
    }
    const int status = child_.wait();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail(status);
  }

 protected:
  virtual void on_worker_line(Stream stream, int rank, std::string_view text) = 0;
  // A line of mpirun itself, or of a program whose lines carry no rank.
  virtual void on_plain_line(Stream stream, std::string_view line) = 0;
  // All workers have their signal handlers.
  virtual bool can_stop() const { return true; }
  virtual std::string host_of(int /*rank*/) const { return {}; }
  // What the worker that broke the job said last, and its exit code.
  virtual std::optional<JobFailed> last_words() const { return std::nullopt; }
  // mpirun's own lines, where they were not shown.
  virtual std::string unseen_lines() const { return {}; }
  // SIGUSR1 is what mpirun hands to every process; SIGTERM makes it kill them.
  virtual int stop_signal() const = 0;

  void note_break() {
    if (!broken_since_) broken_since_ = steady_clock::now();
  }
  int workers() const { return workers_; }

 private:
  void on_line(Stream stream, std::string_view line) {
    if (const auto tagged = parse_tagged(line)) {
      on_worker_line(stream, tagged->rank, tagged->text);
    } else {
      if (stream == Stream::kError) notice_.read(line);
      if (notice_.death()) note_break();
      on_plain_line(stream, line);
    }
  }

  void pass_signals_on() {
    const int count = stop_.count();
    if (count > 0 && !asked_to_stop_ && can_stop()) {
      child_.signal(stop_signal());
      asked_to_stop_ = true;
    }
    if (count > 1) end_at_once();
  }

  // SIGTERM makes mpirun kill all processes; if it does not heed, it goes itself and they with it.
  void end_at_once() {
    if (!ending_since_) {
      child_.signal(SIGTERM);
      ending_since_ = steady_clock::now();
    } else if (steady_clock::now() - *ending_since_ > kPatience) {
      child_.signal_group(SIGKILL);
    }
  }

  [[noreturn]] void fail(int status) {
    if (stop_.count() > 1) throw JobFailed("ended at once by a second signal");
    const std::optional<WorkerEnd>& death = notice_.death();
    if (death && death->signal != 0) throw JobFailed(describe(*death));
    if (const auto words = last_words()) throw *words;
    if (death) {
      WorkerEnd end = *death;
      end.host = host_of(end.rank);
      throw JobFailed(describe(end));
    }
    const std::string how = WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                                                : fmt::format("ended with exit code {}", WEXITSTATUS(status));
    throw JobFailed(fmt::format("mpirun {}\n{}", how, unseen_lines()));
  }

  StopSignals stop_{StopSignals::Second::kIsCounted};
  ChildProcess child_;
  const int workers_;
  DeathNotice notice_;
  bool asked_to_stop_ = false;
  std::optional<steady_clock::time_point> broken_since_;  // a worker died or said that it fails
  std::optional<steady_clock::time_point> ending_since_;
};

// Workers of this program, which speak the worker protocol.
class WorkerJob final : public MpiJob {
 public:
  WorkerJob(const Job& job, const Watch& watch, std::vector<std::string> command,
            const std::vector<std::string>& environment)
      : MpiJob(std::move(command), environment, job.workers), reports_(watch) {}

  trainer::RunResult result() const { return reports_.result(); }

 protected:
  void on_worker_line(Stream stream, int rank, std::string_view text) override {
    reports_.read(stream, rank, text);
    if (reports_.first_error()) note_break();
  }
  void on_plain_line(Stream, std::string_view line) override { plain_lines_.append(line).append("\n"); }
  bool can_stop() const override { return reports_.num_started() == workers(); }
  std::string host_of(int rank) const override { return reports_.host_of(rank); }
  std::optional<JobFailed> last_words() const override { return reports_.first_error(); }
  std::string unseen_lines() const override { return plain_lines_; }
  int stop_signal() const override { return SIGUSR1; }

 private:
  WorkerReports reports_;
  std::string plain_lines_;
};

// A user's program: its output is the user's.
class UserJob final : public MpiJob {
 public:
  using MpiJob::MpiJob;

 protected:
  void on_worker_line(Stream stream, int, std::string_view text) override { on_plain_line(stream, text); }
  void on_plain_line(Stream stream, std::string_view line) override {
    std::FILE* out = stream == Stream::kOut ? stdout : stderr;
    fmt::print(out, "{}\n", line);
    std::fflush(out);
  }
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
  WorkerJob workers(job, watch,
                    joined_lists(mpirun_command(world, ::geteuid() == 0), {self, "train", "--worker"}),
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
  UserJob(joined_lists(mpirun_command(world, ::geteuid() == 0), job.command), environment, job.workers)
      .watch();
}

}  // namespace thinwire::launch
