#include "launch/launcher/stop_request.h"

#include <fmt/format.h>

#include "launch/launcher/launcher.h"
#include "launch/stop_signals.h"

namespace thinwire::launch {

std::string stopping_text(int signal) {
  return fmt::format("{}: the run stops within two steps, with a checkpoint; another signal ends it at once",
                     signal_name(signal));
}

void throw_if_stopped(const StopRequest& request) {
  if (const int signal = request.signal())
    throw JobFailed("stopped by " + signal_name(signal), exit_code_of_signal(signal));
}

StopRequest::Todo StopRequest::look(const News& news) {
  Todo todo;
  if (signal_ == 0 && (news.own != 0 || news.of_workers != 0)) {
    signal_ = news.own != 0 ? news.own : news.of_workers;
    early_ = !news.begun;
    todo.announce = !early_;
  }
  if (again_ == 0) again_ = news.again;
  todo.end_all = early_ || again_ != 0;
  todo.pass_on = news.own != 0 && !passed_on_ && !todo.end_all;
  passed_on_ |= todo.pass_on;
  return todo;
}

trainer::RunResult StopRequest::early_result() const {
  return {.end = trainer::RunEnd::kStopped, .step = kBeforeFirstStep, .stop_signal = signal_, .summary = {}};
}

}  // namespace thinwire::launch
