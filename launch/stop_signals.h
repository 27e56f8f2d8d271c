// SIGTERM, SIGINT and SIGUSR1 as a wish to stop. Starters of processes pass SIGUSR1 on where they keep the
// other two for themselves (mpirun does).
#pragma once

#include <atomic>
#include <csignal>

namespace thinwire::launch {

// Handlers stand while the object lives; one at a time in a process.
class StopSignals {
 public:
  enum class Second { kEndsAtOnce, kIsCounted };
  // kEndsAtOnce: a second signal ends the process with 128 + signal, whatever it is doing.
  explicit StopSignals(Second second);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The first signal that came; 0 for none.
  const std::atomic<int>& signal() const;
  int count() const;

 private:
  struct sigaction previous_[3];
};

}  // namespace thinwire::launch
