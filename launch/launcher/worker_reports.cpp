#include "launch/launcher/worker_reports.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

namespace thinwire::launch {

std::string describe(const WorkerEnd& end) {
  const std::string who =
      fmt::format("worker {}{}", end.rank, end.host.empty() ? "" : " on host " + end.host);
  if (end.signal == 0) return fmt::format("{} ended with exit code {}", who, end.exit_code);
  return fmt::format("{} was killed by signal {} ({})", who, end.signal, ::strsignal(end.signal));
}

trainer::RunResult result_of(const StopRequest& request, const WorkerReports& reports) {
  if (request.early()) return request.early_result();
  trainer::RunResult result = reports.result();
  if (request.signal() != 0) result.stop_signal = request.signal();
  return result;
}

void WorkerReports::read(Stream stream, int rank, std::string_view text) {
  WorkerMessage message = stream == Stream::kOut ? parse_worker_line(text) : WorkerMessage{};
  if (message.host) {
    hosts_[rank] = *message.host;
  } else if (message.notice) {
    watch_.on_message(rank == 0 ? *message.notice : fmt::format("worker {}: {}", rank, *message.notice));
  } else if (message.begun) {
    begun_ = true;
  } else if (message.stopping) {
    if (stopping_ == 0) stopping_ = *message.stopping;
  } else if (message.progress) {
    watch_.on_progress(*message.progress);
  } else if (message.warning) {
    watch_.on_message(fmt::format("worker {}: warning: {}", rank, *message.warning));
  } else if (message.error) {
    on_error(rank, message);
  } else if (message.end) {
    result_ = std::move(message.end);
  } else {
    watch_.on_message(fmt::format("worker {}: {}", rank, text));
  }
}

void WorkerReports::on_error(int rank, const WorkerMessage& message) {
  const std::string text = fmt::format("worker {} on host {}: {}", rank, host_of(rank), *message.error);
  const bool is_the_cause = !error_ || (message.is_cause && !error_is_cause_);
  if (error_) watch_.on_message(is_the_cause ? error_->what() : text);
  if (!is_the_cause) return;
  error_.emplace(text, message.exit_code);
  error_is_cause_ = message.is_cause;
}

std::string WorkerReports::host_of(int rank) const {
  const auto found = hosts_.find(rank);
  return found == hosts_.end() ? "" : found->second;
}

trainer::RunResult WorkerReports::result() const {
  if (!result_) throw JobFailed("the workers ended without a result");
  return *result_;
}

}  // namespace thinwire::launch
