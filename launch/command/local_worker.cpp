#include "launch/command/local_worker.h"

#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "launch/command/command_line.h"
#include "launch/command/run_job.h"
#include "launch/compute_settings.h"
#include "launch/config/config.h"
#include "launch/error_words.h"
#include "launch/launcher/stop_request.h"
#include "launch/launcher/worker_context.h"
#include "launch/line_writer.h"
#include "launch/progress_line.h"
#include "launch/version.h"
#include "trainer/format/file_io.h"

namespace thinwire::launch {
namespace {

constexpr std::size_t kMaxTokenBytes = 4096;
constexpr std::uint64_t kMaxTokenFileBytes = 1 << 20;

WorldOptions base_world(const Job& job) {
  return {.link = job.options.comm.link, .timeout_s = job.options.comm.timeout_s};
}

void complete(const Job& job, comm::GrpcOptions& grpc) {
  grpc.rendezvous_s = job.options.comm.timeout_s;
  grpc.config = shared_config(job.options);
  grpc.config_digest = config_digest(job.options);
  grpc.start_digest = start_digest(job);
}

}  // namespace

void add_join_options(const CommandLine& line, JoinOptions& options) {
  line.option("--coordinator", options.coordinator,
              "HOST:PORT of a `thinwire coordinator`: be a worker of its world");
  line.option("--listen", options.listen, "HOST:PORT where the other workers reach this one; port 0: any");
  line.option("--rank", options.rank, "The rank to ask for; else ranks go by the workers' addresses")
      .check(whole_number(0));
  line.option("--tls", options.tls, "This worker's folder of `thinwire certs`; not needed on loopback")
      .check(existing_folder());
  line.option("--token-file", options.token_file, "A file with the coordinator's join token")
      .check(existing_file());
}

std::string read_token(const std::string& path) {
  if (path.empty()) return "";
  const std::string text = trainer::read_whole_file(path, kMaxTokenFileBytes);
  const std::string token = text.substr(0, text.find('\n'));
  if (token.empty() || token.size() > kMaxTokenBytes) {
    throw UsageError(
        fmt::format("--token-file {}: expected a token of 1 to {} bytes in its first line, found {}", path,
                    kMaxTokenBytes, token.size()));
  }
  return token;
}

std::string config_digest(const trainer::Options& options) {
  return trainer::xxh3_128_hex(shared_config(options));
}

std::string start_digest(const Job& job) {
  return trainer::xxh3_128_hex(fmt::format("{}\n{}\n", kVersion, job.resume ? "resume" : "train"));
}

WorldOptions coordinator_world(const Job& job, const JoinOptions& options) {
  WorldOptions world = base_world(job);
  world.backend = "grpc";
  world.grpc.coordinator = options.coordinator;
  world.grpc.listen = options.listen;
  world.grpc.rank = options.rank;
  world.grpc.tls_dir = options.tls;
  world.grpc.token = read_token(options.token_file);
  complete(job, world.grpc);
  return world;
}

WorldOptions surrounding_world(const Job& job) {
  WorldOptions world = base_world(job);
  world.backend = joined_backend(job.options.comm.backend);
  world.grpc = surrounding_grpc();
  complete(job, world.grpc);
  return world;
}

LocalResult run_local_worker(const Job& job, const WorldOptions& world, const StopSignals& stop,
                             const WorkerEvents& events) {
  settle_threads(job.options.run.threads);
  const auto engine = join_world(world);
  LocalResult local{.result = {}, .rank = engine->rank(), .workers = engine->size()};
  require_size(world.backend, local.workers);
  if (job.workers != 0 && job.workers != local.workers) {
    throw UsageError(
        fmt::format("{} workers were asked for, and the world that started this one has {}; start as "
                    "many as the run has",
                    job.workers, local.workers));
  }
  events.on_join(local.rank, local.workers);
  trainer::WorkerContext context = worker_context(job, local.workers);
  context.engine = engine.get();
  context.stop_signal = &stop.signal();
  context.on_begin = events.on_begin;
  context.on_progress = events.on_progress;
  context.on_notice = events.on_notice;
  context.on_warning = events.on_warning;
  local.result = trainer::run_worker(context);
  engine->stop();
  if (local.result.stop_signal == 0) local.result.stop_signal = stop.signal();
  return local;
}

namespace {

// A worker that speaks for itself.
class OwnWorker {
 public:
  OwnWorker(const Job& job, const WorldOptions& world, bool json)
      : job_(job), world_(world), json_(json), rank_(surrounding_rank()) {}

  // Throws what ended the run, in words.
  int run() {
    try {
      return work();
    } catch (const UsageError&) {
      throw;
    } catch (const std::exception& error) {
      line_.close();
      const std::string words = words_of(error);
      throw JobFailed(
          size_ > 1 || surrounding_size() > 1 ? fmt::format("worker {}: {}", rank_.load(), words) : words,
          exit_code_of(error));
    }
  }

 private:
  int work() {
    if (rank_ == 0) line_.message(first_line());
    // mpirun hands signals on to its processes, and may be sent one itself.
    const StopSignals stop(
        {.starter_passes_on = !surrounding_backend().empty() || surrounding_size() > 1,
         .on_request = [this](int signal, bool passed_on) { on_stop(signal, passed_on); }});
    const LocalResult local = run_local_worker(
        job_, world_, stop,
        {.on_join =
             [this](int rank, int size) {
               rank_ = rank;
               size_ = size;
               if (rank == 0 && !job_.resume) tell_forecast();
             },
         .on_begin = [this](std::int64_t) { begun_ = true; },
         .on_progress = [this](const auto& progress) { line_.show(progress); },
         .on_notice = [this](const auto& text) { line_.message(named(text)); },
         .on_warning = [this](const auto& text) { line_.message(named("warning: " + text)); }});
    line_.close();
    if (local.rank == 0) report_end(local.result, job_.options.run.dir, json_);
    return exit_code_of_run(local.result);
  }

  std::string first_line() const {
    const std::string what = job_.resume ? "resuming" : "starting";
    const std::string where = world_.backend == "grpc"
                                  ? ", waiting for the others at " + world_.grpc.coordinator
                              : world_.backend.empty() ? ", alone"
                                                       : ", waiting for the others of its world";
    return fmt::format("{} a worker{}; run folder {}", what, where, job_.options.run.dir);
  }

  // Nothing is made before.
  void tell_forecast() {
    const int here = world_.backend == "grpc" ? 0 : surrounding_size_here();
    line_.message(forecast_of_processes(job_, size_, here).text);
    const std::string goes = job_.overwrite ? overwrite_text(job_.options.run.dir) : "";
    if (!goes.empty()) line_.message(goes);
  }

  std::string named(const std::string& text) const {
    return rank_ == 0 ? text : fmt::format("worker {}: {}", rank_.load(), text);
  }

  // On the thread of the signals. Before there is a world, or in one of this worker alone, nobody is left
  // behind.
  void on_stop(int signal, bool passed_on) {
    if (!begun_ && size_ <= 1) {
      line_.close();
      leave_early(signal, job_.options.run.dir, json_);
    }
    const std::string text = begun_ ? stopping_text(signal)
                                    : fmt::format(
                                          "{}: the run stops when all workers are ready to train; another "
                                          "signal ends this one at once",
                                          signal_name(signal));
    if (rank_ == 0 || !passed_on) line_.message(named(text));
  }

  const Job& job_;
  const WorldOptions& world_;
  const bool json_;
  ProgressLine line_ = progress_line_of(json_);
  std::atomic<int> rank_;
  std::atomic<int> size_ = 0;  // 0: no world yet
  std::atomic<bool> begun_ = false;
};

}  // namespace

int run_here(const Job& job, const WorldOptions& world, bool json) {
  ignore_closed_pipes();
  try {
    return OwnWorker(job, world, json).run();
  } catch (const std::exception& error) {
    const bool under_mpi = world.backend == "mpi" || world.backend == "nccl";
    if (!under_mpi) {
      if (dynamic_cast<const UsageError*>(&error) != nullptr) throw;
      throw JobFailed(with_resume_hint(error.what(), job.options.run.dir), exit_code_of(error));
    }
    standard_error().write(fmt::format("thinwire: error: {}\n", error.what()), LineWriter::Kind::kKept);
    leave_broken_world(exit_code_of(error));
  }
}

int run_with_coordinator(Job job, const JoinOptions& options, bool json) {
  job.options.comm.backend = "grpc";
  return run_here(job, coordinator_world(job, options), json);
}

void leave_broken_world(int exit_code) {
  std::fflush(nullptr);
  flush_standard_writers();
  std::_Exit(exit_code);
}

}  // namespace thinwire::launch
