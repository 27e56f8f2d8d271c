// Checkpoints of one worker: a State on disk, whole or not there at all.
//
//   RUN/checkpoints/step-N/worker-K/state.safetensors   tensors
//                                   manifest.json       sizes, XXH3-128 hashes, meta, format version
//                                   on_all_workers      empty; there once all are known to hold the step
//
// Written beside (worker-K.tmp), every file and folder synced, renamed: after a crash at any moment the store
// holds the older checkpoints or the newer, and what was left behind goes at the next save. Each worker
// writes its own, so no shared disk is assumed; which step a world goes on from is agreed at start, from what
// everybody's check() found, and an old one goes only when all workers hold a newer one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "trainer/state.h"

namespace thinwire::trainer {

struct CheckpointProblem {
  std::string file;
  std::string what;  // expected and found
};

// What one worker's checkpoint at one step holds, after reading every byte of it.
struct CheckpointCheck {
  std::int64_t step = 0;
  int worker = 0;
  bool whole = false;
  std::vector<CheckpointProblem> problems;
  bool on_all_workers = false;  // was once: this worker has noted it
};

// One worker's checkpoints. One store per worker and run at a time (RunLock); workers do not disturb each
// other.
class CheckpointStore {
 public:
  // keep: how many checkpoints stay, at least 1; throws std::invalid_argument otherwise. Touches no file.
  CheckpointStore(std::string run_dir, int worker, std::int64_t keep);

  // True once the new checkpoint is durable. Removes nothing but one of the same step, which it replaces.
  // False if the disk is full: nothing older is lost, what was begun is removed; `why` says what failed.
  // Other failures throw std::runtime_error, with nothing older lost either.
  bool save(std::int64_t step, const State& state, std::string* why);

  // Every checkpoint of this worker, by step. Reads and hashes all files.
  std::vector<CheckpointCheck> check();
  // Steps that are known to be whole: those that check() found, and those saved since.
  const std::set<std::int64_t>& held() const { return held_; }

  // Notes in the checkpoint of `step` that every worker of the run holds it: without such a step the run has
  // lost one. Not noted on a full disk.
  void note_on_all_workers(std::int64_t step) const;
  // The same, and removes all but the newest `keep` of those up to it: a worker that removed one by what it
  // holds itself could leave a run without a step that all have.
  void prune(std::int64_t step);
  // The run goes on from `step`, which every worker holds, or starts over at 0: removes those of later steps,
  // since they belong to a history that is left, and all that is damaged.
  void drop_after(std::int64_t step);

  // What the manifest of a step in held() carries.
  nlohmann::json meta(std::int64_t step) const;

  // Tensors come back in memory of their own, 64-byte aligned; meta with exact numbers.
  // Throws std::runtime_error that names the file and what is wrong.
  State load(std::int64_t step) const;

 private:
  void write(std::int64_t step, const State& state) const;
  void remove_leftovers() const;
  void remove(std::int64_t step);

  std::string run_dir_;
  int worker_;
  std::int64_t keep_;
  std::set<std::int64_t> held_;
};

// Where a worker's checkpoint of a step lies.
std::string checkpoint_folder(const std::string& run_dir, std::int64_t step, int worker);

// Every checkpoint of every worker under a run folder, by (step, worker). Empty if there is none; throws
// std::runtime_error if the folder is missing or cannot be read.
std::vector<CheckpointCheck> verify_checkpoints(const std::string& run_dir);

}  // namespace thinwire::trainer
