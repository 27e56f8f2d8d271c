// Checkpoints of one worker: a State on disk, whole or not there at all.
//
//   RUN/checkpoints/step-N/worker-K/state.safetensors   tensors
//                                   manifest.json       sizes, XXH3-128 hashes, meta, format version
//
// Written beside (worker-K.tmp), every file and folder synced, renamed: after a crash at any moment the store
// holds the older checkpoints or the newer, and what was left behind goes at the next save. Each worker
// writes its own, so no shared disk is assumed; which step a world goes on from is agreed at start, from
// everybody's whole_steps().
#pragma once

#include <cstdint>
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
};

// One worker's checkpoints. One store per worker and run at a time (RunLock); workers do not disturb each
// other.
class CheckpointStore {
 public:
  // keep: how many checkpoints stay, at least 1; throws std::invalid_argument otherwise. Touches no file.
  CheckpointStore(std::string run_dir, int worker, std::int64_t keep);

  // Once the new checkpoint is durable, removes all but the newest `keep` up to `step`, and those of later
  // steps: a run that saves `step` has left the history they belong to. A checkpoint of the same step is
  // replaced. False if the disk is full: nothing older is lost, what was begun is removed; `why` says what
  // failed. Other failures throw std::runtime_error, with nothing older lost either.
  bool save(std::int64_t step, const State& state, std::string* why);

  // Steps whose checkpoint of this worker is whole, ascending. Reads and hashes all files.
  std::vector<std::int64_t> whole_steps() const;

  // Tensors come back in memory of their own, 64-byte aligned; meta with exact numbers.
  // Throws std::runtime_error that names the file, what is wrong, and the newest good step.
  State load(std::int64_t step) const;

 private:
  void write(std::int64_t step, const State& state) const;
  void remove_leftovers() const;
  void prune(std::int64_t step) const;

  std::string run_dir_;
  int worker_;
  std::int64_t keep_;
};

// Every checkpoint of every worker under a run folder, by (step, worker). Empty if there is none; throws
// std::runtime_error if the folder is missing or cannot be read.
std::vector<CheckpointCheck> verify_checkpoints(const std::string& run_dir);

}  // namespace thinwire::trainer
