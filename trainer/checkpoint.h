// Checkpoints of one worker: a State on disk, whole or not there at all.
//
//   RUN/checkpoints/step-N/worker-K/state.safetensors   tensors
//                                   manifest.json       sizes, XXH3-128 hashes, meta, format version
//
// Written beside (…/worker-K.tmp), synced, renamed; the last `keep` stay. Each worker writes its own, so no shared
// disk is assumed; which step a world goes on from is agreed at start (see newest_common_step).
#pragma once

#include <cstdint>
#include <optional>
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

class CheckpointStore {
 public:
  CheckpointStore(std::string run_dir, int worker, std::int64_t keep);

  // False if the disk is full: nothing older is lost, what was begun is removed; `why` says what failed.
  // Other failures throw std::runtime_error.
  bool save(std::int64_t step, const State& state, std::string* why);

  // Steps whose checkpoint of this worker is whole, ascending. Reads and hashes all files.
  std::vector<std::int64_t> whole_steps() const;

  // Throws std::runtime_error that names the file, what is wrong, and the newest good step.
  State load(std::int64_t step) const;

 private:
  std::string run_dir_;
  int worker_;
  std::int64_t keep_;
};

// Every checkpoint of every worker under a run folder, by (step, worker).
std::vector<CheckpointCheck> verify_checkpoints(const std::string& run_dir);

}  // namespace thinwire::trainer
