// Whether a run's folder is as the run left it (`thinwire verify`).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint.h"

namespace thinwire::trainer {

// The checkpoints of one step, one for each worker of the run. A worker whose folder is not there has a
// problem that says so: it was never written, it is lost, or it lies on another host.
struct StepCheck {
  std::int64_t step = 0;
  std::vector<CheckpointCheck> workers;
  bool whole = false;  // on every worker
};

struct RunCheck {
  int workers = 0;  // as the checkpoints say, else launch.json; 0: nobody knows
  std::vector<StepCheck> steps;
  std::optional<std::int64_t> resume_step;  // where a resume on this folder goes on
  std::vector<CheckpointProblem> problems;  // of the files of the run as a whole

  bool is_whole() const;
};

// Reads every byte of the checkpoints, config.toml, tokenizer, logs and summary; changes nothing. Throws
// std::runtime_error if the folder is missing or cannot be read.
RunCheck check_run(const std::string& run_dir);

}  // namespace thinwire::trainer
