// Goes on with a run: same config, same number of workers.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "launch/command/command.h"
#include "launch/command/local_worker.h"
#include "launch/command/run_job.h"
#include "launch/config/config.h"

namespace thinwire::launch {
namespace {

struct ResumeOptions {
  std::string run;
  int workers = 0;  // 0: as at the start
  std::string hosts;
  std::vector<std::string> overrides;
  bool json = false;
  JoinOptions world;
};

bool may_change(const std::string& key) {
  for (const char* section : {"comm.", "log.", "checkpoint."}) {
    if (key.starts_with(section)) return true;
  }
  return false;
}

// The run's own config with the overrides, as far as a run under way can take them.
trainer::Options resumed_options(const std::string& run, const std::vector<std::string>& overrides) {
  const std::string path = run + "/config.toml";
  if (!std::filesystem::exists(path)) throw UsageError(run + ": holds no run (no config.toml in it)");
  trainer::Options before = load_config(path, {});
  trainer::Options after = load_config(path, overrides);
  for (const std::string& key : differing_keys(before, after)) {
    if (key == "inner.steps" && after.inner.steps > before.inner.steps) continue;
    if (may_change(key)) continue;
    throw UsageError(fmt::format(
        "{} cannot change on resume; only [comm], [log], [checkpoint] and a larger inner.steps can", key));
  }
  after.run.dir = run;  // the folder may have been moved
  return after;
}

int run_resume(const ResumeOptions& options) {
  Job job{.options = resumed_options(options.run, options.overrides),
          .workers = options.workers,
          .resume = true,
          .hosts = options.hosts};
  if (!options.world.coordinator.empty()) return run_with_coordinator(job, options.world, options.json);
  const LaunchRecord record = read_launch_record(options.run);
  if (job.workers == 0) job.workers = record.workers;
  if (job.hosts.empty()) job.hosts = record.hosts;
  if (job.workers != record.workers) {
    throw UsageError(fmt::format("{} is a run of {} workers, {} were asked for; resume with -n {}",
                                 options.run, record.workers, job.workers, record.workers));
  }
  return run_job(job, options.json);
}

}  // namespace

Run declare_resume(const CommandLine& line) {
  auto options = std::make_shared<ResumeOptions>();
  CLI::App& app = line.app;
  app.add_option("run", options->run, "The run's folder")->required();
  app.add_option("-n,--workers", options->workers, "Workers, as many as at the start")
      ->check(CLI::PositiveNumber);
  app.add_option("--hosts", options->hosts, "A hostfile of Open MPI; as at the start if not given")
      ->check(CLI::ExistingFile);
  app.add_option("--set", options->overrides,
                 "section.key=value: [comm], [log], [checkpoint], a larger inner.steps")
      ->allow_extra_args(false);
  app.add_flag("--json", options->json, "The summary as JSON on standard output");
  add_join_options(app, options->world);
  return [options] { return run_resume(*options); };
}

}  // namespace thinwire::launch
