// What workers make sure of together, outside the training step: one config, one tokenizer, one start, one
// step to resume from, one result. All functions are collective: every worker calls them in the same order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "comm/progress_engine.h"
#include "trainer/checkpoint.h"
#include "trainer/data/corpus.h"
#include "trainer/evaluate.h"

namespace thinwire::trainer {

class Batches;
class OuterLoop;
class Task;
class Tokenizer;
struct Options;

// Every worker's record, by rank.
std::vector<nlohmann::json> gather_json(comm::ProgressEngine& engine, const nlohmann::json& mine,
                                        const std::string& what);

// Throws std::invalid_argument that names the first line in which a worker's config differs from worker 0's.
// shared_config: the lines that must not.
void compare_configs(comm::ProgressEngine& engine, const std::string& shared_config);

// Runs job on a thread of its own for as long as it takes, while this one tells the others now and then that
// the worker lives, so that no deadline passes for those that are done. Returns when all are done; rethrows
// what job threw. If another worker fails meanwhile, job is asked to stop.
void while_all_wait(comm::ProgressEngine& engine, double timeout_s,
                    const std::function<void(std::stop_token)>& job);

// The sources as this worker read them, of open_sources: fills in what only other workers read. Throws
// std::runtime_error that names the first entry of data.path whose text differs between workers that read it.
void compare_texts(comm::ProgressEngine& engine, std::vector<Source>& sources);

// Every worker's tally, by rank.
std::vector<Tally> gather_tallies(comm::ProgressEngine& engine, const Tally& mine);

// The run's tokenizer: worker 0 opens the one stored with a run that is resumed, or takes that of the model
// it starts from, or makes one, and sends it to all.
std::unique_ptr<Tokenizer> agree_on_tokenizer(comm::ProgressEngine& engine, const Options& options,
                                              bool resume, const TextWatch& watch = {});

// Throws std::invalid_argument with both numbers if the model has fewer tokens than the tokenizer.
void require_room_for(const Tokenizer& tokenizer, std::int64_t model_vocab);

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
// has any, or the run ended amid its first. `notice` says if a newer one was passed over, and why. Where
// there are others but none that all have, it throws std::runtime_error that lists for each worker what is
// whole and what is damaged; with start_over it is 0.
struct ResumePoint {
  std::int64_t step = 0;
  std::string notice;
};
ResumePoint agree_on_resume(comm::ProgressEngine& engine, const std::string& run_dir,
                            const std::vector<CheckpointCheck>& mine, bool start_over);

// The newest step that every worker holds, out of the records {"held": [steps]}; nothing if there is none.
std::optional<std::int64_t> newest_common_step(const std::vector<nlohmann::json>& records);

}  // namespace thinwire::trainer
