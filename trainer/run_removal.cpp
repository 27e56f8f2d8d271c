#include "trainer/run_removal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>

#include "trainer/run_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLogs[] = {"metrics.jsonl", "commits.jsonl", "history.jsonl"};
constexpr const char* kCheckpointFiles[] = {"state.safetensors", "manifest.json", "on_all_workers"};
constexpr const char* kTemporary = ".tmp";

// Of "<prefix>N" or "<prefix>N.tmp".
std::optional<std::int64_t> number_of(std::string_view prefix, const fs::path& path) {
  const bool is_temporary = path.extension() == kTemporary;
  return number_after(prefix, (is_temporary ? path.stem() : path.filename()).string());
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  if (!fs::is_directory(folder)) return entries;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

// A plain file, or a link in its place.
void add_file(const fs::path& path, RunItem& item) {
  const fs::file_status status = fs::symlink_status(path);
  if (!fs::is_regular_file(status) && !fs::is_symlink(status)) return;
  item.files.push_back(path);
  if (fs::is_regular_file(status)) item.bytes += fs::file_size(path);
}

// With what a kill may have left beside it.
void add_own_file(const fs::path& path, RunItem& item) {
  add_file(path, item);
  add_file(path.string() + kTemporary, item);
}

// The folders of a run's checkpoints, by step.
std::map<std::int64_t, std::vector<fs::path>> worker_folders(const fs::path& run_dir) {
  std::map<std::int64_t, std::vector<fs::path>> folders;
  for (const fs::path& step : entries_of(run_dir / "checkpoints")) {
    const auto number = number_of("step-", step);
    if (!number) continue;
    for (const fs::path& worker : entries_of(step)) {
      if (number_of("worker-", worker)) folders[*number].push_back(worker);
    }
  }
  return folders;
}

RunItem checkpoints_of(const fs::path& run_dir) {
  RunItem item;
  std::vector<std::int64_t> steps;
  for (const auto& [step, folders] : worker_folders(run_dir)) {
    const std::size_t before = item.files.size();
    for (const fs::path& folder : folders) {
      for (const char* name : kCheckpointFiles) add_own_file(folder / name, item);
    }
    if (item.files.size() > before) steps.push_back(step);
  }
  item.what = fmt::format("checkpoint{} of step{} {}", steps.size() == 1 ? "" : "s",
                          steps.size() == 1 ? "" : "s", fmt::join(steps, ", "));
  return item;
}

void remove_if_empty(const fs::path& folder) {
  std::error_code not_empty;
  if (fs::is_directory(fs::symlink_status(folder, not_empty))) fs::remove(folder, not_empty);
}

}  // namespace

std::vector<RunItem> run_items(const std::string& run_dir) {
  const fs::path dir(run_dir);
  std::vector<RunItem> items;
  const auto add = [&](const std::string& what, const std::function<void(RunItem&)>& fill) {
    RunItem item;
    item.what = what;
    fill(item);
    if (!item.files.empty()) items.push_back(std::move(item));
  };
  add("config.toml", [&](RunItem& item) {
    add_own_file(dir / "config.toml", item);
    for (const fs::path& entry : entries_of(dir)) {
      if (number_of("config.toml.worker-", entry)) add_file(entry, item);
    }
  });
  add("launch.json", [&](RunItem& item) { add_own_file(dir / "launch.json", item); });
  if (RunItem checkpoints = checkpoints_of(dir); !checkpoints.files.empty())
    items.push_back(std::move(checkpoints));
  add("logs", [&](RunItem& item) {
    for (const char* name : kLogs) add_own_file(dir / name, item);
    for (const fs::path& entry : entries_of(dir / "tensorboard")) {
      if (entry.filename().string().starts_with("events.out.tfevents.")) add_file(entry, item);
    }
  });
  add("summary.json", [&](RunItem& item) { add_own_file(dir / "summary.json", item); });
  add("tokenizer", [&](RunItem& item) { add_own_file(dir / "tokenizer", item); });
  return items;
}

void remove_run(const std::string& run_dir) {
  for (const RunItem& item : run_items(run_dir)) {
    for (const std::string& file : item.files) fs::remove(file);
  }
  const fs::path dir(run_dir);
  for (const auto& [step, folders] : worker_folders(dir)) {
    for (const fs::path& folder : folders) remove_if_empty(folder);
    remove_if_empty(dir / "checkpoints" / fmt::format("step-{}", step));
  }
  remove_if_empty(dir / "checkpoints");
  remove_if_empty(dir / "tensorboard");
}

}  // namespace thinwire::trainer
