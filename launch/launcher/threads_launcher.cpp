// Workers as threads of this process: nothing to install, no network, one debugger.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "comm/backend/backend.h"
#include "launch/compute_settings.h"
#include "launch/error_words.h"
#include "launch/launcher/launcher.h"
#include "launch/launcher/stop_request.h"
#include "launch/launcher/worker_context.h"
#include "launch/stop_signals.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

struct Failure {
  int worker = 0;
  std::string words;
  int exit_code = kRunFailed;
  bool is_consequence = false;  // of another worker's failure, which breaks the exchanges of all
};

const Failure& cause_of(const std::vector<Failure>& failures) {
  const auto cause = std::find_if(failures.begin(), failures.end(),
                                  [](const Failure& failure) { return !failure.is_consequence; });
  return cause == failures.end() ? failures.front() : *cause;
}

class ThreadJob {
 public:
  ThreadJob(const Job& job, const Watch& watch) : job_(job), watch_(watch) {}

  trainer::RunResult run() {
    auto makers = comm::make_thread_world(job_.workers, job_.options.comm.timeout_s);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < job_.workers; ++rank) {
      threads.emplace_back(
          [this, rank, make = std::move(makers[static_cast<std::size_t>(rank)])] { work(rank, make); });
    }
    for (std::thread& thread : threads) thread.join();
    if (!failures_.empty()) {
      const Failure& cause = cause_of(failures_);
      throw JobFailed(fmt::format("worker {}: {}", cause.worker, cause.words), cause.exit_code);
    }
    if (result_->stop_signal == 0) result_->stop_signal = stop_.signal();
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
    } catch (const std::exception& error) {
      const std::scoped_lock lock(mutex_);
      failures_.push_back({rank, words_of(error), exit_code_of(error), is_consequence(error)});
    }
  }

  trainer::WorkerContext context_of(int rank, comm::ProgressEngine& engine) {
    trainer::WorkerContext context = worker_context(job_, job_.workers);
    context.engine = &engine;
    context.stop_signal = &stop_.signal();
    context.on_begin = [this](std::int64_t) { begun_ = true; };
    context.on_progress = [this](const trainer::Progress& progress) {
      const std::scoped_lock lock(mutex_);
      watch_.on_progress(progress);
    };
    context.on_notice = [this, rank](const std::string& text) {
      tell(rank == 0 ? text : fmt::format("worker {}: {}", rank, text));
    };
    context.on_warning = [this, rank](const std::string& text) {
      tell(fmt::format("worker {}: warning: {}", rank, text));
    };
    return context;
  }

  void tell(const std::string& text) {
    const std::scoped_lock lock(mutex_);
    watch_.on_message(text);
  }

  void on_stop(int signal) {
    if (!begun_ && watch_.on_early_stop) watch_.on_early_stop(signal);
    tell(stopping_text(signal));
  }

  const Job& job_;
  const Watch& watch_;
  std::optional<trainer::RunResult> result_;  // worker 0's; read after the threads ended
  std::atomic<bool> begun_ = false;           // a worker trains

  std::mutex mutex_;
  std::vector<Failure> failures_;  // in the order of their coming; guarded by mutex_
  const StopSignals stop_{{.on_request = [this](int signal, bool) { on_stop(signal); }}};  // the last to come
};

}  // namespace

trainer::RunResult run_threads(const Job& job, const Watch& watch) {
  if (!job.hosts.empty())
    throw UsageError("--hosts: workers as threads share one machine; use --backend mpi");
  return ThreadJob(job, watch).run();
}

}  // namespace thinwire::launch
