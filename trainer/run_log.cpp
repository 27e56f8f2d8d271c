#include "trainer/run_log.h"

namespace thinwire::trainer {

RunLog::RunLog(const std::string& run_dir, bool writes, bool tensorboard, std::int64_t keep_through) {
  if (!writes) return;
  metrics_ = std::make_unique<JsonLines>(run_dir + "/metrics.jsonl", keep_through);
  commits_ = std::make_unique<JsonLines>(run_dir + "/commits.jsonl", keep_through);
  if (tensorboard) tensorboard_ = std::make_unique<TensorboardWriter>(run_dir + "/tensorboard");
}

void RunLog::metrics(const nlohmann::json& record) {
  if (metrics_) metrics_->write(record);
  if (!tensorboard_) return;
  for (const auto& [name, value] : record.items())
    if (value.is_number() && name != "step") tensorboard_->scalar(name, value, record.at("step"));
  tensorboard_->flush();
}

void RunLog::commit(const CommitRecord& record) {
  if (!commits_) return;
  nlohmann::json line = {{"step", record.step},
                         {"sent_step", record.sent_step},
                         {"fragment", record.fragment},
                         {"weights", record.weights},
                         {"wire_bytes", record.wire_bytes},
                         {"late_seconds", record.late_seconds},
                         {"delta_norm", record.delta_norm},
                         {"mean_norm", record.mean_norm},
                         {"cosine", record.cosine},
                         {"digest", record.digest}};
  if (record.clamped > 0) line["clamped_steps"] = record.clamped;
  commits_->write(line);
}

bool RunLog::take_failure() {
  const bool failing = (metrics_ && !metrics_->ok()) || (commits_ && !commits_->ok());
  const bool news = failing && !failed_;
  failed_ = failing;
  return news;
}

}  // namespace thinwire::trainer
