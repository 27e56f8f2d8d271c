// What workers tell each other besides fragments: a small record per worker every few steps, gathered without
// waiting. A record posted at step s is read on every worker at the same later step, so whatever is decided
// from it (to stop, on a signal) is decided at the same step everywhere, whatever the link does. Read before
// a checkpoint, so none is in flight in one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/progress_engine.h"

namespace thinwire::trainer {

class PulseBoard {
 public:
  explicit PulseBoard(comm::ProgressEngine& engine) : engine_(engine) {}

  // Starts sending mine to all. What was posted before must have been read.
  void post(const nlohmann::json& mine);
  bool posted() const { return gather_ != nullptr; }
  // True if read() would not wait; by timing, so nothing that all must decide alike may hang on it.
  bool arrived() const { return posted() && ticket_.done(); }
  // Waits for the records of the last post: one per worker, by rank.
  std::vector<nlohmann::json> read();

 private:
  class Gather;

  comm::ProgressEngine& engine_;
  std::shared_ptr<Gather> gather_;  // shared with the engine while in flight
  comm::Ticket ticket_;
};

}  // namespace thinwire::trainer
