// What workers make sure of together, outside the training step: one config, one tokenizer, one start, one
// step to resume from, one result. All functions are collective: every worker calls them in the same order.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "comm/progress_engine.h"
#include "trainer/checkpoint.h"
#include "trainer/data/batches.h"
#include "trainer/data/tokenizer.h"
#include "trainer/options.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {

// Every worker's record, by rank.
std::vector<nlohmann::json> gather_json(comm::ProgressEngine& engine, const nlohmann::json& mine,
                                        const std::string& what);

// Throws std::invalid_argument that names the first line in which a worker's config differs from worker 0's.
// shared_config: the lines that must not.
void compare_configs(comm::ProgressEngine& engine, const std::string& shared_config);

// The run's tokenizer: worker 0 opens the one stored with a run that is resumed, or takes that of the model
// it starts from, or makes one; stores it and sends it to all.
std::unique_ptr<Tokenizer> agree_on_tokenizer(comm::ProgressEngine& engine, const Options& options,
                                              bool resume);

// Data-dependent starts: worker 0 calibrates on its first batch, all take its values.
void broadcast_calibration(comm::ProgressEngine& engine, Task& task, Batches& batches,
                           const Options& options);

// Throws std::runtime_error that names the first tensor whose bits differ between workers, out of the agreed
// copy and the task's frozen tensors, or the outer momentum. when: "at the start" or "at the end", for the
// message.
void compare_agreed(comm::ProgressEngine& engine, OuterLoop& outer, Task& task, const std::string& when);

// What a task reads beside the model that it trains and no checkpoint holds (a teacher). Throws
// std::runtime_error that names the first whose content differs between workers, or from `saved`, the
// references_of() of the checkpoint that a run goes on from.
void compare_references(comm::ProgressEngine& engine, const Task& task, const nlohmann::json& saved);
// {"task.teacher": digest, ...}
nlohmann::json references_of(const Task& task);

// The step that a run goes on from: the newest whose checkpoint is whole on every worker; 0 where no worker
// has any. `notice` says if a newer one was passed over, and why. Where there are some but none that all
// have, it throws std::runtime_error that lists for each worker what is whole and what is damaged; with
// start_over it is 0.
struct ResumePoint {
  std::int64_t step = 0;
  std::string notice;
};
ResumePoint agree_on_resume(comm::ProgressEngine& engine, const std::string& run_dir,
                            const std::vector<CheckpointCheck>& mine, bool start_over);

// The newest step that every worker holds, out of the records {"held": [steps]}; nothing if there is none.
std::optional<std::int64_t> newest_common_step(const std::vector<nlohmann::json>& records);

}  // namespace thinwire::trainer
