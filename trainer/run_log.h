// What a run writes about itself: metrics.jsonl, commits.jsonl, TensorBoard events. Worker 0 writes; on the
// other workers every call is a no-op. A disk that fills up costs log lines, never the run.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "trainer/format/tensorboard.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/run_folder.h"

namespace thinwire::trainer {

class RunLog {
 public:
  // keep_through: records of later steps are dropped (a resume); -1 starts anew. saved: state() as of the
  // checkpoint that the run goes on from.
  RunLog(const std::string& run_dir, bool writes, bool tensorboard, std::int64_t keep_through,
         const nlohmann::json& saved = nullptr);

  // record: has "step"; its other numbers become TensorBoard scalars of the same name. A record that the log
  // holds already is left out.
  void metrics(const nlohmann::json& record);
  void commit(const CommitRecord& record);
  // How many lines each log has, for the checkpoint; null where nothing is written. The lines are on disk
  // before it returns, or the log is failing.
  nlohmann::json sync();
  // True once if a line could not be written since the last call.
  bool take_failure();
  // For each log that lacks lines of before the checkpoint, which; empty after a resume that found all.
  const std::vector<std::string>& lost() const { return lost_; }

 private:
  std::unique_ptr<JsonLines> open(const std::string& run_dir, const std::string& name,
                                  std::int64_t keep_through, const nlohmann::json& saved);

  std::int64_t keep_through_;
  std::set<std::string> last_tags_;  // that TensorBoard's files have at keep_through_
  std::vector<std::string> lost_;
  std::unique_ptr<JsonLines> metrics_;
  std::unique_ptr<JsonLines> commits_;
  std::unique_ptr<TensorboardWriter> tensorboard_;
  bool failed_ = false;
};

// Which lines of RUN/name a checkpoint knows and the log lacks, for people; empty if none.
std::string describe_lost_lines(const std::string& name, const LostLines& lost);

}  // namespace thinwire::trainer
