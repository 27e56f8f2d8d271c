#include "launch/command/local_worker.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "launch/command/run_job.h"
#include "launch/compute_settings.h"
#include "launch/config/config.h"
#include "launch/stop_signals.h"
#include "launch/version.h"
#include "trainer/format/file_io.h"

namespace thinwire::launch {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxTokenBytes = 4096;

// The folder may differ: each worker has its own.
std::string shared_config(const trainer::Options& options) {
  std::istringstream lines(to_toml(options));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("dir =")) text += line + "\n";
  }
  return text;
}

// Names and sizes of what stands at a path, or "absent".
std::string describe_files(const std::string& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return std::to_string(fs::file_size(path, error));
  if (!fs::is_directory(path, error)) return "absent";
  std::vector<std::string> entries;
  for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
    if (!entry.is_regular_file(error)) continue;
    entries.push_back(
        fmt::format("{} {}", fs::relative(entry.path(), path, error).string(), entry.file_size(error)));
  }
  std::sort(entries.begin(), entries.end());
  std::string text;
  for (const std::string& entry : entries) text += entry + "\n";
  return text;
}

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

void add_join_options(CLI::App& app, JoinOptions& options) {
  app.add_option("--coordinator", options.coordinator,
                 "HOST:PORT of a `thinwire coordinator`: be a worker of its world");
  app.add_option("--listen", options.listen, "HOST:PORT where the other workers reach this one; port 0: any");
  app.add_option("--rank", options.rank, "The rank to ask for; else ranks go by the workers' addresses")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tls", options.tls, "This worker's folder of `thinwire certs`; not needed on loopback")
      ->check(CLI::ExistingDirectory);
  app.add_option("--token-file", options.token_file, "A file with the coordinator's join token")
      ->check(CLI::ExistingFile);
}

std::string read_token(const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path);
  std::string token;
  std::getline(file, token);
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
  std::string text = fmt::format("{}\n{}\n", kVersion, job.resume ? "resume" : "train");
  for (const std::string& path : job.options.data.path) text += describe_files(path) + "\n";
  return trainer::xxh3_128_hex(text);
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

LocalResult run_local_worker(const Job& job, const WorldOptions& world, const Watch& watch) {
  const StopSignals stop(StopSignals::Second::kEndsAtOnce);
  settle_threads(job.options.run.threads);
  const auto engine = join_world(world);
  trainer::WorkerContext context;
  context.options = job.options;
  context.config_toml = to_toml(job.options);
  context.resume = job.resume;
  context.engine = engine.get();
  context.stop_signal = &stop.signal();
  context.to_toml = to_toml;
  context.on_progress = watch.on_progress;
  context.on_warning = watch.on_message;
  LocalResult local{.result = {}, .rank = engine->rank(), .workers = engine->size()};
  if (local.rank == 0 && world.backend == "grpc") {
    write_launch_record(job.options.run.dir, {.workers = local.workers, .hosts = job.hosts});
  }
  local.result = trainer::run_worker(context);
  engine->stop();
  return local;
}

int run_with_coordinator(Job job, const JoinOptions& options, bool json) {
  job.options.comm.backend = "grpc";
  const std::string& run_dir = job.options.run.dir;
  ProgressLine line(progress_stream(json));
  try {
    const LocalResult local = run_local_worker(job, coordinator_world(job, options), make_watch(line));
    line.close();
    if (local.rank == 0) report_end(local.result, run_dir, json);
    return kSuccess;
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& error) {
    line.close();
    throw JobFailed(error.what() + resume_hint(run_dir), exit_code_of(error));
  }
}

int exit_code_of(const std::exception& error) {
  const bool bad_setting = dynamic_cast<const std::invalid_argument*>(&error) != nullptr ||
                           dynamic_cast<const ConfigError*>(&error) != nullptr ||
                           dynamic_cast<const UsageError*>(&error) != nullptr;
  return bad_setting ? kUsage : kRunFailed;
}

}  // namespace thinwire::launch
