#include "trainer/run_log.h"

#include <fmt/format.h>

namespace thinwire::trainer {
namespace {

constexpr char kMetrics[] = "metrics.jsonl";
constexpr char kCommits[] = "commits.jsonl";

}  // namespace

RunLog::RunLog(const std::string& run_dir, bool writes, bool tensorboard, std::int64_t keep_through,
               const nlohmann::json& saved)
    : keep_through_(keep_through) {
  if (!writes) return;
  metrics_ = open(run_dir, kMetrics, keep_through, saved);
  commits_ = open(run_dir, kCommits, keep_through, saved);
  const std::string events = run_dir + "/tensorboard";
  if (keep_through >= 0) last_tags_ = cut_event_files(events, keep_through);
  if (tensorboard) tensorboard_ = std::make_unique<TensorboardWriter>(events, keep_through + 1);
}

std::unique_ptr<JsonLines> RunLog::open(const std::string& run_dir, const std::string& name,
                                        std::int64_t keep_through, const nlohmann::json& saved) {
  const std::int64_t written = saved.is_object() ? saved.at(name).get<std::int64_t>() : 0;
  auto log = std::make_unique<JsonLines>(run_dir + "/" + name, keep_through, written);
  if (log->lost().count > 0) lost_.push_back(describe_lost_lines(name, log->lost()));
  return log;
}

void RunLog::metrics(const nlohmann::json& record) {
  if (!metrics_ || !metrics_->write(record) || !tensorboard_) return;
  // Where a line was lost and is written again, TensorBoard has its points still.
  const bool may_be_there = record.at("step") <= keep_through_;
  for (const auto& [name, value] : record.items()) {
    if (!value.is_number() || name == "step" || (may_be_there && last_tags_.contains(name))) continue;
    tensorboard_->scalar(name, value, record.at("step"));
  }
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

nlohmann::json RunLog::sync() {
  if (!metrics_) return nullptr;
  metrics_->sync();
  commits_->sync();
  return {{kMetrics, metrics_->lines()}, {kCommits, commits_->lines()}};
}

bool RunLog::take_failure() {
  const bool failing = (metrics_ && !metrics_->ok()) || (commits_ && !commits_->ok());
  const bool news = failing && !failed_;
  failed_ = failing;
  return news;
}

std::string describe_lost_lines(const std::string& name, const LostLines& lost) {
  if (lost.count == 0) return {};
  return fmt::format("{} lacks {} line{}, of {}; the run is whole, its log is not", name, lost.count,
                     lost.count == 1 ? "" : "s", lost.steps);
}

}  // namespace thinwire::trainer
