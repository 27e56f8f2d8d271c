// How the workers of a run stop together, soon after one of them or all have heard a signal, and without a
// message as long as nobody has.
//
// A standing operation looks at the signal, and for a peer that calls. Either way this worker joins with the
// number of the step that it is in; all end after the greatest of these. Nobody can be past it, since a
// worker that has joined goes no further than its own step before it knows the others'. Workers whose steps
// are in phase so end within two steps of the signal.
//
// It also finds a peer that has failed: the next ends_after() throws what that peer said.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/progress_engine.h"

namespace thinwire::trainer {

class StopWatch {
 public:
  // Of a worker that is about to take step `first`. All workers make theirs at the same place in the order of
  // their operations. signal: 0 until one is heard; may be null. engine and signal must outlive the object.
  StopWatch(comm::ProgressEngine& engine, const std::atomic<int>* signal, std::int64_t first);

  // After every step but the last one: whether the run ends here. Waits for the others only if somebody has
  // asked. Throws comm::CommError if a worker has failed.
  bool ends_after(std::int64_t step);
  // After the last step, instead: a request that comes later is no longer heard. Waits for all workers.
  void close(std::int64_t last_step);

  // The signal that the workers have heard; after ends_after() was true.
  int signal() const;

 private:
  class Call;

  std::int64_t agreed_step();

  std::shared_ptr<Call> call_;  // shared with the engine
  comm::Ticket ticket_;
};

}  // namespace thinwire::trainer
