#include "trainer/run_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "trainer/format/file_io.h"
#include "trainer/model_file.h"
#include "trainer/run_folder.h"
#include "trainer/run_log.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxTextBytes = 1 << 20;
constexpr std::int64_t kMaxWorkers = 100000;  // a damaged record asks for no more lines than this

// The metas of the whole checkpoints of the newest step that has one, by worker.
std::map<int, json> newest_metas(const std::string& run_dir, const std::vector<CheckpointCheck>& checks) {
  std::map<int, json> metas;
  std::int64_t newest = -1;
  for (const CheckpointCheck& check : checks)
    if (check.whole) newest = std::max(newest, check.step);
  for (const CheckpointCheck& check : checks)
    if (check.whole && check.step == newest)
      metas[check.worker] = CheckpointStore(run_dir, check.worker, /*keep=*/1).meta(newest);
  return metas;
}

// Throws std::runtime_error that says what is wrong with the file; nothing if it is not there.
std::optional<int> workers_of_launch(const std::string& path) {
  if (!fs::exists(path)) return {};
  const json record = json::parse(read_whole_file(path, kMaxTextBytes), nullptr, /*allow_exceptions=*/false);
  const bool has_workers =
      record.is_object() && record.contains("workers") && record["workers"].is_number_integer();
  const std::int64_t workers = has_workers ? record["workers"].get<std::int64_t>() : 0;
  if (workers < 1 || workers > kMaxWorkers)
    throw std::runtime_error(fmt::format("expected {{\"workers\": N, ...}} with N in 1..{}", kMaxWorkers));
  return static_cast<int>(workers);
}

std::vector<StepCheck> by_step(const std::string& run_dir, const std::vector<CheckpointCheck>& checks,
                               int workers) {
  std::map<std::int64_t, StepCheck> steps;
  for (const CheckpointCheck& check : checks) {
    steps[check.step].step = check.step;
    steps[check.step].workers.push_back(check);
  }
  std::vector<StepCheck> result;
  for (auto& [step, found] : steps) {
    for (int worker = 0; worker < workers; ++worker) {
      const bool is_there = std::any_of(found.workers.begin(), found.workers.end(),
                                        [&](const CheckpointCheck& check) { return check.worker == worker; });
      if (is_there) continue;
      found.workers.push_back({step,
                               worker,
                               false,
                               {{checkpoint_folder(run_dir, step, worker),
                                 "expected a folder, found nothing (is it on another host?)"}}});
    }
    std::sort(found.workers.begin(), found.workers.end(),
              [](const CheckpointCheck& a, const CheckpointCheck& b) { return a.worker < b.worker; });
    found.whole = std::all_of(found.workers.begin(), found.workers.end(),
                              [](const CheckpointCheck& check) { return check.whole; });
    result.push_back(std::move(found));
  }
  return result;
}

class RunFiles {
 public:
  RunFiles(const std::string& run_dir, RunCheck& result) : run_dir_(run_dir), result_(result) {}

  // Runs a check of one file; what it throws is a problem of that file.
  void check(const std::string& name, const std::function<void(const std::string& path)>& body) {
    const std::string path = run_dir_ + "/" + name;
    try {
      body(path);
    } catch (const std::exception& error) {
      const std::string what = error.what(), start = path + ": ";
      result_.problems.push_back({path, what.starts_with(start) ? what.substr(start.size()) : what});
    }
  }

  // The same for a file that may be missing.
  void check_if_there(const std::string& name, const std::function<void(const std::string& path)>& body) {
    check(name, [&](const std::string& path) {
      if (fs::exists(fs::symlink_status(path))) body(path);
    });
  }

  void check_log(const std::string& name, const json& meta) {
    check(name, [&](const std::string& path) {
      const json& lines = meta.at("logs");
      if (!lines.is_object()) return;  // not the worker that writes them
      const LostLines lost = lost_lines(path, meta.at("step"), lines.at(name));
      if (lost.count > 0) throw std::runtime_error(describe_lost_lines(name, lost));
    });
  }

 private:
  const std::string& run_dir_;
  RunCheck& result_;
};

}  // namespace

bool RunCheck::is_whole() const {
  return problems.empty() &&
         std::all_of(steps.begin(), steps.end(), [](const StepCheck& step) { return step.whole; });
}

RunCheck check_run(const std::string& run_dir) {
  const std::vector<CheckpointCheck> checks = verify_checkpoints(run_dir);
  const std::map<int, json> metas = newest_metas(run_dir, checks);
  RunCheck result;
  RunFiles files(run_dir, result);
  if (!metas.empty()) result.workers = metas.begin()->second.value("workers", 0);
  files.check("launch.json", [&](const std::string& path) {
    const auto launched = workers_of_launch(path);
    if (result.workers == 0) result.workers = launched.value_or(0);
    if (launched.value_or(result.workers) != result.workers)
      throw std::runtime_error(
          fmt::format("expected {} workers, as the checkpoints say, found {}", result.workers, *launched));
  });
  result.steps = by_step(run_dir, checks, result.workers);
  for (const StepCheck& step : result.steps)
    if (step.whole) result.resume_step = step.step;

  files.check("config.toml", [](const std::string& path) { require_seal(path); });
  files.check_if_there("history.jsonl", [](const std::string& path) { require_plain_file(path); });
  files.check_if_there("summary.json", [](const std::string& path) { read_hashed_json(path); });
  if (metas.empty()) return result;
  const json& meta = metas.begin()->second;
  if (metas.contains(0) || fs::exists(run_dir + "/tokenizer"))
    files.check("tokenizer", [&](const std::string&) { require_stored_tokenizer(run_dir, meta); });
  for (const char* name : {"metrics.jsonl", "commits.jsonl"}) files.check_log(name, meta);
  return result;
}

}  // namespace thinwire::trainer
