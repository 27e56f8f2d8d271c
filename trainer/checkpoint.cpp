#include "trainer/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "trainer/fault_point.h"
#include "trainer/format/manifest.h"
#include "trainer/format/safetensors.h"
#include "trainer/run_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr char kTensorFile[] = "state.safetensors";
constexpr char kManifestFile[] = "manifest.json";
constexpr char kOnAllWorkersFile[] = "on_all_workers";
constexpr std::uint64_t kMaxManifestBytes = 64 << 20;

fs::path checkpoints_folder(const std::string& run_dir) {
  return fs::path(run_dir) / "checkpoints";
}

fs::path step_folder(const std::string& run_dir, std::int64_t step) {
  return checkpoints_folder(run_dir) / fmt::format("step-{}", step);
}

fs::path worker_folder(const std::string& run_dir, std::int64_t step, int worker) {
  return step_folder(run_dir, step) / fmt::format("worker-{}", worker);
}

fs::path unfinished(const fs::path& folder) {
  return folder.string() + ".tmp";
}

// Numbers of the entries "<prefix>N", ascending. A folder that is not there has none.
std::vector<std::int64_t> numbers_in(const fs::path& folder, std::string_view prefix) {
  std::vector<std::int64_t> numbers;
  if (!fs::exists(folder)) return numbers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (const auto number = number_after(prefix, entry.path().filename().string()))
      numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// Removes a folder of ours, and its parent if that is empty now. Another worker may do the same at this
// moment.
void remove_with_empty_parent(const fs::path& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  fs::remove(folder.parent_path(), ignored);
}

// Another worker may remove the empty parent between the creation of the two; then it is made again.
void create_folders(const fs::path& folder) {
  std::error_code error;
  for (int attempt = 0; attempt < 10; ++attempt) {
    fs::create_directories(folder, error);
    if (!error) return;
    if (error != std::errc::no_such_file_or_directory) break;
  }
  throw std::system_error(error, "create folder " + folder.string());
}

// Puts `from` in the place of `to`. A `to` that exists is exchanged in one step and then removed.
void move_into_place(const fs::path& from, const fs::path& to) {
  const unsigned flags = fs::exists(to) ? RENAME_EXCHANGE : 0;
  int failed = ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
  if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) {
    // Some network file systems cannot exchange; a crash between these two lines loses this step, no other
    // one.
    fs::remove_all(to);
    failed = ::rename(from.c_str(), to.c_str());
  }
  if (failed != 0) {
    throw std::system_error(errno, std::generic_category(),
                            fmt::format("rename {} to {}", from.string(), to.string()));
  }
  fs::remove_all(from);
}

struct Inspection {
  CheckpointCheck check;
  Manifest manifest;
};

Inspection inspect(const std::string& run_dir, std::int64_t step, int worker) {
  const fs::path folder = worker_folder(run_dir, step, worker);
  Inspection result{{.step = step, .worker = worker, .whole = false, .problems = {}}, {}};
  result.check.on_all_workers = fs::exists(fs::symlink_status(folder / kOnAllWorkersFile));
  std::string file = folder / kManifestFile;
  try {
    result.manifest = parse_manifest(read_whole_file(file, kMaxManifestBytes));
    const Manifest& manifest = result.manifest;
    if (manifest.step != step || manifest.worker != worker) {
      throw std::runtime_error(
          fmt::format("expected step {} of worker {}, as the folder says, found step {} of worker {}", step,
                      worker, manifest.step, manifest.worker));
    }
    if (manifest.files.size() != 1 || manifest.files.count(kTensorFile) == 0) {
      throw std::runtime_error(fmt::format("expected one file, {}", kTensorFile));
    }
    file = folder / kTensorFile;
    const FileDigest& expected = manifest.files.at(kTensorFile);
    const FileDigest found = digest_file(file);
    if (found != expected) {
      throw std::runtime_error(fmt::format("expected {} bytes with XXH3-128 {}, found {} bytes with {}",
                                           expected.bytes, expected.xxh3_128, found.bytes, found.xxh3_128));
    }
    require_tensors(manifest, read_safetensors_header(file));
    result.check.whole = true;
  } catch (const std::exception& error) {
    result.check.problems.push_back({file, error.what()});
  }
  return result;
}

}  // namespace

CheckpointStore::CheckpointStore(std::string run_dir, int worker, std::int64_t keep)
    : run_dir_(std::move(run_dir)), worker_(worker), keep_(keep) {
  if (worker < 0)
    throw std::invalid_argument(fmt::format("expected a worker of 0 or more, found {}", worker));
  if (keep < 1)
    throw std::invalid_argument(fmt::format("checkpoint.keep: expected 1 or more, found {}", keep));
}

bool CheckpointStore::save(std::int64_t step, const State& state, std::string* why) {
  if (step < 0) throw std::invalid_argument(fmt::format("expected a step of 0 or more, found {}", step));
  try {
    remove_leftovers();
    write(step, state);
  } catch (const std::exception& error) {
    remove_with_empty_parent(unfinished(worker_folder(run_dir_, step, worker_)));
    const std::string what = fmt::format("cannot write the checkpoint of step {}: {}", step, error.what());
    const auto* system_error = dynamic_cast<const std::system_error*>(&error);
    if (system_error == nullptr || !is_disk_full(system_error->code())) throw std::runtime_error(what);
    if (why != nullptr) *why = what;
    return false;
  }
  held_.insert(step);
  return true;
}

void CheckpointStore::write(std::int64_t step, const State& state) const {
  const fs::path folder = worker_folder(run_dir_, step, worker_);
  const fs::path beside = unfinished(folder);
  create_folders(beside);

  Manifest manifest{step, worker_, {}, state.meta, specs_of(state.tensors)};
  manifest.files[kTensorFile] = write_safetensors(beside / kTensorFile, {state.tensors, {}},
                                                  [&] { checkpoint_fault_point(step, worker_); });
  OutputFile file(beside / kManifestFile);
  file.write(to_text(manifest));
  file.sync();
  sync_directory(beside);

  move_into_place(beside, folder);
  for (const fs::path& parent : {folder.parent_path(), checkpoints_folder(run_dir_), fs::path(run_dir_)}) {
    sync_directory(parent);
  }
}

void CheckpointStore::remove_leftovers() const {
  for (const std::int64_t step : numbers_in(checkpoints_folder(run_dir_), "step-")) {
    const fs::path leftover = unfinished(worker_folder(run_dir_, step, worker_));
    if (fs::exists(fs::symlink_status(leftover))) remove_with_empty_parent(leftover);
  }
}

std::vector<CheckpointCheck> CheckpointStore::check() {
  std::vector<CheckpointCheck> checks;
  held_.clear();
  for (const std::int64_t step : numbers_in(checkpoints_folder(run_dir_), "step-")) {
    if (!fs::exists(fs::symlink_status(worker_folder(run_dir_, step, worker_)))) continue;
    checks.push_back(inspect(run_dir_, step, worker_).check);
    if (checks.back().whole) held_.insert(step);
  }
  return checks;
}

void CheckpointStore::prune(std::int64_t step) {
  note_on_all_workers(step);
  std::vector<std::int64_t> steps(held_.begin(), held_.upper_bound(step));
  for (std::int64_t i = 0; i < std::ssize(steps) - keep_; ++i) remove(steps[i]);
}

void CheckpointStore::note_on_all_workers(std::int64_t step) const {
  const fs::path folder = worker_folder(run_dir_, step, worker_), file = folder / kOnAllWorkersFile;
  if (fs::exists(fs::symlink_status(file))) return;
  try {
    OutputFile(file).sync();
    sync_directory(folder);
  } catch (const std::system_error&) {
  }
}

void CheckpointStore::drop_after(std::int64_t step) {
  for (const std::int64_t s : numbers_in(checkpoints_folder(run_dir_), "step-")) {
    const bool is_there = fs::exists(fs::symlink_status(worker_folder(run_dir_, s, worker_)));
    if (is_there && (s > step || !held_.contains(s))) remove(s);
  }
}

void CheckpointStore::remove(std::int64_t step) {
  // Renamed first: a crash in the removal leaves no half checkpoint behind. What cannot be removed now is
  // tried again when it is in the way.
  const fs::path folder = worker_folder(run_dir_, step, worker_);
  std::error_code error;
  fs::rename(folder, unfinished(folder), error);
  if (!error) remove_with_empty_parent(unfinished(folder));
  held_.erase(step);
}

nlohmann::json CheckpointStore::meta(std::int64_t step) const {
  const fs::path file = worker_folder(run_dir_, step, worker_) / kManifestFile;
  return parse_manifest(read_whole_file(file, kMaxManifestBytes)).meta;
}

State CheckpointStore::load(std::int64_t step) const {
  Inspection found = inspect(run_dir_, step, worker_);
  if (found.check.whole) {
    return {read_safetensors(worker_folder(run_dir_, step, worker_) / kTensorFile).tensors,
            std::move(found.manifest.meta)};
  }
  const CheckpointProblem& problem = found.check.problems.front();
  throw std::runtime_error(fmt::format("the checkpoint of step {} of worker {} is not whole: {}: {}", step,
                                       worker_, problem.file, problem.what));
}

std::string checkpoint_folder(const std::string& run_dir, std::int64_t step, int worker) {
  return worker_folder(run_dir, step, worker).string();
}

std::vector<CheckpointCheck> verify_checkpoints(const std::string& run_dir) {
  if (!fs::is_directory(run_dir)) throw std::runtime_error(run_dir + ": expected a run's folder");
  std::vector<CheckpointCheck> checks;
  for (const std::int64_t step : numbers_in(checkpoints_folder(run_dir), "step-")) {
    for (const std::int64_t worker : numbers_in(step_folder(run_dir, step), "worker-")) {
      if (!std::in_range<int>(worker)) continue;  // no worker of ours
      checks.push_back(inspect(run_dir, step, static_cast<int>(worker)).check);
    }
  }
  return checks;
}

}  // namespace thinwire::trainer
