// One worker's run from start to summary: data, task, optimiser and outer loop around the training step, with
// evaluation, logging and checkpoints beside it. Launchers start it; it starts nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "comm/progress_engine.h"
#include "trainer/options/options.h"

namespace thinwire::trainer {

// For the progress line; called on worker 0's training thread every log.every steps.
struct Progress {
  std::int64_t step = 0;
  std::int64_t total_steps = 0;
  double loss = 0;             // mean over workers where known
  double tokens_per_s = 0;     // all workers
  double wire_bits_per_s = 0;  // this worker
  double seconds_left = 0;
};

struct WorkerContext {
  Options options;            // resolved
  std::string config_toml;    // the resolved config, compared across workers and kept in the run folder
  std::string shared_config;  // the part of it that must be equal on all workers
  bool resume = false;        // go on from the newest checkpoint that is whole on all workers
  bool start_over = false;  // with resume: begin at step 0 again where no checkpoint is whole on all workers
  bool overwrite = false;   // without resume: what a run has made in the folder goes, once this one can begin
  // With resume: what this start changes of the run's config, {"inner.lr": [before, after]}, for its history.
  nlohmann::json changes = nlohmann::json::object();
  std::string launch_record;               // of worker 0, kept as launch.json once the run begins
  comm::ProgressEngine* engine = nullptr;  // started
  // The signal that asks the run to stop, 0 for none: agree on a step, checkpoint, return.
  const std::atomic<int>* stop_signal = nullptr;
  std::function<std::string(const Options&)> to_toml;  // writes config.toml with what the model has settled
  // Each may be empty.
  std::function<void(std::int64_t step)>
      on_begin;  // training begins, after this step; before, nothing is to keep
  std::function<void(const Progress&)> on_progress;
  std::function<void(const std::string&)> on_notice;   // what the run does before it trains, or when it stops
  std::function<void(const std::string&)> on_warning;  // a full disk, ...
};

enum class RunEnd { kFinished, kStopped };

struct RunResult {
  RunEnd end = RunEnd::kFinished;
  std::int64_t step = 0;
  int stop_signal = 0;     // that the workers have heard, where the run was stopped
  nlohmann::json summary;  // as written to summary.json by worker 0; empty when stopped
};

// Throws std::invalid_argument for settings that do not fit, comm::CommError when the world broke, and
// std::runtime_error with what to do next for the rest.
RunResult run_worker(const WorkerContext& context);

}  // namespace thinwire::trainer
