// Goes on with a run: same config, same number of workers.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/local_worker.h"
#include "launch/command/run_job.h"
#include "launch/config/config.h"
#include "launch/config/lookup.h"
#include "launch/error_words.h"
#include "launch/launch_record.h"
#include "launch/launcher/hosts_file.h"
#include "launch/line_writer.h"

namespace thinwire::launch {
namespace {

struct ResumeOptions {
  std::string run;
  int workers = 0;  // 0: as at the start
  std::string hosts;
  std::vector<std::string> overrides;
  bool start_over = false;
  bool json = false;
  JoinOptions world;
};

constexpr const char* kMayChange =
    "[comm], [log], [checkpoint], inner.steps, inner.lr, inner.clip, inner.schedule, "
    "inner.final_lr, "
    "inner.warmup, inner.skip_nonfinite, and paths to the same content can";

bool is_made_here(const std::string& tokenizer) {
  return tokenizer == "bytes" || tokenizer == "bpe";
}

// Whether the run can take the key's new value. That a path leads to the same content is checked where it is
// read.
bool may_change(const std::string& key, const trainer::Options& before, const trainer::Options& after) {
  for (const char* section : {"comm.", "log.", "checkpoint."}) {
    if (key.starts_with(section)) return true;
  }
  for (const char* rate : {"inner.lr", "inner.clip", "inner.schedule", "inner.final_lr", "inner.warmup",
                           "inner.skip_nonfinite", "inner.steps", "data.path"}) {
    if (key == rate) return true;
  }
  if (key == "model.from") return !before.model.from.empty() && !after.model.from.empty();
  if (key == "task.teacher") return !before.task.teacher.empty() && !after.task.teacher.empty();
  if (key == "data.tokenizer")
    return !is_made_here(before.data.tokenizer) && !is_made_here(after.data.tokenizer);
  return false;
}

// Of a "section.key" of the schema. TOML writes numbers, texts and lists as JSON does.
nlohmann::json value_of(const trainer::Options& options, const std::string& name) {
  const auto dot = name.find('.');
  const std::string text = find_key(name.substr(0, dot), name.substr(dot + 1))->write(options);
  const nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  return value.is_discarded() ? nlohmann::json(text) : value;
}

// The run's own config with the overrides, as far as a run under way can take them.
void settle_config(const ResumeOptions& options, Job& job) {
  const std::string path = options.run + "/config.toml";
  if (!std::filesystem::exists(path)) {
    throw UsageError(options.run + ": holds no run (no config.toml in it)");
  }
  const trainer::Options before = load_run_config(options.run, {});
  job.options = load_run_config(options.run, options.overrides);
  for (const std::string& key : differing_keys(before, job.options)) {
    if (!may_change(key, before, job.options))
      throw UsageError(fmt::format("{} cannot change on resume; only {}", key, kMayChange));
    job.changes[key] = {value_of(before, key), value_of(job.options, key)};
  }
  job.options.run.dir = options.run;  // the folder may have been moved
}

struct Known {
  LaunchRecord record;
  std::string problem;  // of the record; empty: it can be used
};

Known read_record(const std::string& run) {
  try {
    const LaunchRecord record = read_launch_record(run);
    return {.record = record, .problem = record.workers > 0 ? "" : run + "/launch.json is missing"};
  } catch (const std::exception& error) {
    return {.record = {}, .problem = words_of(error)};
  }
}

void say(const ResumeOptions& options, const std::string& text) {
  (options.json ? standard_error() : standard_output()).write(text + "\n", LineWriter::Kind::kKept);
}

// The checkpoints know best; launch.json knows before there are any.
int workers_of_run(const ResumeOptions& options, const Known& known) {
  const std::optional<int> saved = workers_of_checkpoints(options.run);
  const int workers = saved.value_or(known.record.workers);
  if (workers == 0 && options.workers == 0) {
    throw UsageError(fmt::format("{}, and no checkpoint says how many workers the run has; name them with -n",
                                 known.problem));
  }
  if (workers != 0 && options.workers != 0 && options.workers != workers) {
    throw UsageError(fmt::format("{} is a run of {} workers, {} were asked for; resume with -n {}",
                                 options.run, workers, options.workers, workers));
  }
  if (!known.problem.empty()) {
    say(options, fmt::format("{}; {} says that the run has {} workers", known.problem,
                             saved ? "its newest checkpoint" : "-n", std::max(workers, options.workers)));
  } else if (saved && known.record.workers != *saved) {
    say(options, fmt::format("{}/launch.json says {} workers, the newest checkpoint {}; going on with {}",
                             options.run, known.record.workers, *saved, *saved));
  }
  return std::max(workers, options.workers);
}

int run_resume(const ResumeOptions& options) {
  Job job;
  settle_config(options, job);
  job.resume = true;
  job.start_over = options.start_over;
  job.workers = options.workers;
  if (!options.world.coordinator.empty()) return run_with_coordinator(job, options.world, options.json);
  if (surrounding_backend() == "grpc" || is_one_of_several())
    return run_here(job, surrounding_world(job), options.json);
  const Known known = read_record(options.run);
  job.workers = workers_of_run(options, known);
  const std::string& hosts = options.hosts.empty() ? known.record.hosts : options.hosts;
  if (!hosts.empty()) job.hosts = checked_hosts_file(hosts);
  return run_job(job, options.json);
}

}  // namespace

Run declare_resume(const CommandLine& line) {
  auto options = std::make_shared<ResumeOptions>();
  line.option("run", options->run, "The run's folder").required();
  line.option("-n,--workers", options->workers, "Workers, as many as at the start").check(whole_number(1));
  line.option("--hosts", options->hosts, "A hostfile of Open MPI; as at the start if not given")
      .check(existing_file());
  line.option("--set", options->overrides, std::string("section.key=value: ") + kMayChange + " change")
      .once_each();
  line.flag("--start-over", options->start_over,
            "Begin at step 0 again where no checkpoint is whole on all workers");
  line.flag("--json", options->json, "The summary as JSON on standard output");
  add_join_options(line, options->world);
  return [options] { return run_resume(*options); };
}

}  // namespace thinwire::launch
