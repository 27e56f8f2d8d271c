// Workers as threads of this process: nothing to install, no network, one debugger.
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "comm/backend/backend.h"
#include "launch/compute_settings.h"
#include "launch/config/config.h"
#include "launch/launcher/launcher.h"
#include "launch/stop_signals.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

struct Failure {
  int worker = 0;
  std::exception_ptr error;
};

// A worker's failure breaks the exchanges of the others: the cause is the first that is not such a break.
const Failure& cause_of(const std::vector<Failure>& failures) {
  const auto cause = std::find_if(failures.begin(), failures.end(), [](const Failure& failure) {
    try {
      std::rethrow_exception(failure.error);
    } catch (const comm::CommError&) {
      return false;
    } catch (...) {
      return true;
    }
  });
  return cause == failures.end() ? failures.front() : *cause;
}

[[noreturn]] void throw_as_job_failure(const Failure& failure) {
  try {
    std::rethrow_exception(failure.error);
  } catch (const std::invalid_argument& error) {
    throw JobFailed(fmt::format("worker {}: {}", failure.worker, error.what()), kUsage);
  } catch (const std::exception& error) {
    throw JobFailed(fmt::format("worker {}: {}", failure.worker, error.what()));
  }
}

class ThreadJob {
 public:
  ThreadJob(const Job& job, const Watch& watch) : job_(job), watch_(watch), config_(to_toml(job.options)) {}

  trainer::RunResult run() {
    auto makers = comm::make_thread_world(job_.workers, job_.options.comm.timeout_s);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < job_.workers; ++rank) {
      threads.emplace_back(
          [this, rank, make = std::move(makers[static_cast<std::size_t>(rank)])] { work(rank, make); });
    }
    for (std::thread& thread : threads) thread.join();
    if (!failures_.empty()) throw_as_job_failure(cause_of(failures_));
    return *result_;
  }

 private:
  using Maker = std::function<std::unique_ptr<comm::Communicator>()>;

  void work(int rank, const Maker& make) {
    try {
      settle_threads(job_.options.run.threads);
      const auto engine = start_engine(make, job_.options.comm.link);
      trainer::RunResult result = trainer::run_worker(context_of(rank, *engine));
      if (rank == 0) result_ = std::move(result);
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      failures_.push_back({rank, std::current_exception()});
    }
  }

  trainer::WorkerContext context_of(int rank, comm::ProgressEngine& engine) {
    trainer::WorkerContext context;
    context.options = job_.options;
    context.config_toml = config_;
    context.resume = job_.resume;
    context.engine = &engine;
    context.stop_signal = &stop_.signal();
    context.to_toml = to_toml;
    context.on_progress = [this](const trainer::Progress& progress) {
      const std::scoped_lock lock(mutex_);
      watch_.on_progress(progress);
    };
    context.on_warning = [this, rank](const std::string& text) {
      const std::scoped_lock lock(mutex_);
      watch_.on_message(fmt::format("worker {}: warning: {}", rank, text));
    };
    return context;
  }

  const Job& job_;
  const Watch& watch_;
  const std::string config_;
  StopSignals stop_{StopSignals::Second::kEndsAtOnce};
  std::optional<trainer::RunResult> result_;  // worker 0's; read after the threads ended

  std::mutex mutex_;
  std::vector<Failure> failures_;  // in the order of their coming; guarded by mutex_
};

}  // namespace

trainer::RunResult run_threads(const Job& job, const Watch& watch) {
  if (!job.hosts.empty())
    throw UsageError("--hosts: workers as threads share one machine; use --backend mpi");
  return ThreadJob(job, watch).run();
}

}  // namespace thinwire::launch
