// What workers make sure of together, outside the training step: one config, one tokenizer, one start, one
// step to resume from, one result. All functions are collective: every worker calls them in the same order.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/progress_engine.h"
#include "trainer/data/batches.h"
#include "trainer/data/tokenizer.h"
#include "trainer/options.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {

// Every worker's record, by rank.
std::vector<nlohmann::json> gather_json(comm::ProgressEngine& engine, const nlohmann::json& mine,
                                        const std::string& what);

// Throws std::invalid_argument that names the first key in which a worker's config differs from worker 0's;
// the run's folder may differ.
void compare_configs(comm::ProgressEngine& engine, const std::string& config_toml);

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

// The newest step at which every worker has a whole checkpoint; 0 if there is none because no worker has more
// than its first. Throws std::runtime_error that lists each worker's steps if there are more but none in
// common.
std::int64_t newest_common_step(comm::ProgressEngine& engine, const std::vector<std::int64_t>& whole_steps);

}  // namespace thinwire::trainer
