#include "launch/command/run_job.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/backend/backend.h"
#include "launch/quantity.h"
#include "trainer/run_folder.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

std::string record_path(const std::string& run_dir) {
  return run_dir + "/launch.json";
}

// A figure of the summary; NaN stands as null.
double figure(const json& summary, const char* name) {
  const auto found = summary.find(name);
  return found == summary.end() || !found->is_number() ? std::nan("") : found->get<double>();
}

void print_summary(const json& summary, const std::string& run_dir) {
  fmt::print("finished {}: {} steps on {} workers in {}\n", run_dir, summary.value("steps", 0),
             summary.value("workers", 0), short_duration(figure(summary, "wall_seconds")));
  fmt::print("  evaluation loss      {:.4f} nats per token, {:.4f} bits per byte\n",
             figure(summary, "eval_loss"), figure(summary, "eval_bits_per_byte"));
  fmt::print("  sent by each worker  {}B\n", short_number(figure(summary, "wire_bytes_per_worker")));
  fmt::print("  compute utilisation  {:.3f} at {:.3g} workers per core\n",
             figure(summary, "compute_utilization"), figure(summary, "workers_per_core"));
  fmt::print("  digest               {}\n", summary.value("outer_digest", ""));
}

}  // namespace

void write_launch_record(const std::string& run_dir, const LaunchRecord& record) {
  std::filesystem::create_directories(run_dir);
  trainer::write_file_atomically(record_path(run_dir),
                                 json{{"workers", record.workers}, {"hosts", record.hosts}}.dump(2) + "\n");
}

LaunchRecord read_launch_record(const std::string& run_dir) {
  std::ifstream file(record_path(run_dir));
  if (!file) return {};
  const json object = json::parse(file, nullptr, false);
  if (!object.is_object() || !object.contains("workers") || !object["workers"].is_number_integer()) {
    throw std::runtime_error(record_path(run_dir) +
                             ": expected {\"workers\": N, ...}; give -n to go on without it");
  }
  return {.workers = object["workers"], .hosts = object.value("hosts", "")};
}

void refuse_used_folder(const std::string& run_dir) {
  if (!trainer::holds_run(run_dir)) return;
  throw UsageError(
      fmt::format("{} holds a run already; go on with it by `thinwire resume {}`, or choose another run.dir",
                  run_dir, run_dir));
}

std::string resume_hint(const std::string& run_dir) {
  const std::filesystem::path checkpoints = std::filesystem::path(run_dir) / "checkpoints";
  std::error_code none;
  if (!std::filesystem::is_directory(checkpoints, none) || std::filesystem::is_empty(checkpoints, none))
    return "";
  return fmt::format("; to go on from the newest checkpoint: thinwire resume {}", run_dir);
}

std::FILE* progress_stream(bool json_wanted) {
  return json_wanted ? stderr : stdout;
}

Watch make_watch(ProgressLine& line) {
  return {.on_progress = [&line](const trainer::Progress& progress) { line.show(progress); },
          .on_message = [&line](const std::string& text) { line.message(text); }};
}

void report_end(const trainer::RunResult& result, const std::string& run_dir, bool json_wanted) {
  const bool finished = result.end == trainer::RunEnd::kFinished;
  if (json_wanted) {
    const json stopped = {{"stopped_at", result.step}, {"dir", run_dir}};
    fmt::print("{}\n", (finished ? result.summary : stopped).dump(2));
  } else if (finished) {
    print_summary(result.summary, run_dir);
  } else {
    fmt::print("stopped at step {}, checkpoint written; go on with: thinwire resume {}\n", result.step,
               run_dir);
  }
}

int run_job(const Job& job, bool json_wanted) {
  const std::string& run_dir = job.options.run.dir;
  const Launcher& launcher = find_launcher(job.options.comm.backend);
  // Other hosts may have what this one lacks; their workers say so themselves.
  if (job.hosts.empty()) comm::require_backend(job.options.comm.backend);
  write_launch_record(run_dir, {.workers = job.workers, .hosts = job.hosts});
  ProgressLine line(progress_stream(json_wanted));
  try {
    const trainer::RunResult result = launcher.run(job, make_watch(line));
    line.close();
    report_end(result, run_dir, json_wanted);
    return kSuccess;
  } catch (const JobFailed& failure) {
    line.close();
    throw JobFailed(failure.what() + resume_hint(run_dir), failure.exit_code());
  }
}

}  // namespace thinwire::launch
