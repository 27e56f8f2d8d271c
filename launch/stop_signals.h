// SIGINT, SIGTERM, SIGHUP and SIGUSR1 as a request to stop. Starters of processes pass SIGUSR1 on where they
// keep the others for themselves (mpirun does). SIGHUP is none where it is ignored already, as under nohup.
//
// One request may come as many signals, to this process and by way of its starter: those within two seconds
// of the first are the same, and so is whatever a starter that passes requests on sends. A later one is
// another.
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

namespace thinwire::launch {

constexpr int kStopSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

// "SIGTERM"
std::string signal_name(int signal);
// Of a process that a signal ended, or of a run that it stopped: 130, 143, 129.
constexpr int exit_code_of_signal(int signal) {
  return 128 + signal;
}

// Handlers stand while the object lives; one at a time in a process.
class StopSignals {
 public:
  struct Options {
    // A second request ends the process with 128 + signal, whatever it is doing; else it is counted.
    bool again_ends = true;
    // The process that started this one hears requests as well and passes each on once.
    bool starter_passes_on = false;
    // The first request, at once, on a thread of its own. from_starter: it was passed on.
    std::function<void(int signal, bool from_starter)> on_request = {};
  };
  explicit StopSignals(Options options);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The signal of the first request; 0 for none.
  const std::atomic<int>& signal() const;
  // The signal of a second one; 0 for none.
  int again() const;

 private:
  void wait_for_request() const;

  const Options options_;
  struct sigaction previous_[std::size(kStopSignals)];
  std::thread waiter_;
};

}  // namespace thinwire::launch
