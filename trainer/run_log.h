// What a run writes about itself: metrics.jsonl, commits.jsonl, TensorBoard events. Worker 0 writes; on the
// other workers every call is a no-op. A disk that fills up costs log lines, never the run.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "trainer/format/tensorboard.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/run_folder.h"

namespace thinwire::trainer {

class RunLog {
 public:
  // keep_through: records of later steps are dropped (a resume); -1 starts anew.
  RunLog(const std::string& run_dir, bool writes, bool tensorboard, std::int64_t keep_through);

  // record: has "step"; its other numbers become TensorBoard scalars of the same name.
  void metrics(const nlohmann::json& record);
  void commit(const CommitRecord& record);
  // True once if a line could not be written since the last call.
  bool take_failure();

 private:
  std::unique_ptr<JsonLines> metrics_;
  std::unique_ptr<JsonLines> commits_;
  std::unique_ptr<TensorboardWriter> tensorboard_;
  bool failed_ = false;
};

}  // namespace thinwire::trainer
