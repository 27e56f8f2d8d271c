#include "launch/stop_signals.h"

#include <unistd.h>

#include <cstddef>

namespace thinwire::launch {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

// A handler reaches only globals; lock-free atomics are safe in it.
std::atomic<int> stop_signal = 0;
std::atomic<int> stop_count = 0;
std::atomic<bool> second_ends = false;
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void on_signal(int signal) {
  int none = 0;
  stop_signal.compare_exchange_strong(none, signal);
  if (stop_count.fetch_add(1) > 0 && second_ends) ::_exit(128 + signal);
}

}  // namespace

StopSignals::StopSignals(Second second) {
  stop_signal = 0;
  stop_count = 0;
  second_ends = second == Second::kEndsAtOnce;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &action, &previous_[i]);
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &previous_[i], nullptr);
}

const std::atomic<int>& StopSignals::signal() const {
  return stop_signal;
}

int StopSignals::count() const {
  return stop_count;
}

}  // namespace thinwire::launch
