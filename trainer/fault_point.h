// Faults on demand, so that tests can break a run off at a certain place. The environment variable
// THINWIRE_FAULT, unset outside tests, names one; without :WORKER it strikes every worker.
//   checkpoint_write:STEP[:WORKER]  the process kills itself (SIGKILL) with half of the tensor file written
//   checkpoint_full:STEP[:WORKER]   the disk is full at that point
//   step:STEP[:WORKER]              the process kills itself at the end of that step, before what follows it
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <system_error>

namespace thinwire::trainer {

inline bool fault_asked(const char* kind, std::int64_t step, int worker) {
  const char* variable = std::getenv("THINWIRE_FAULT");
  if (variable == nullptr) return false;
  const std::string fault = variable;
  const std::string at_step = std::string(kind) + ":" + std::to_string(step);
  return fault == at_step || fault == at_step + ":" + std::to_string(worker);
}

// Called in the middle of writing the checkpoint of (step, worker).
inline void checkpoint_fault_point(std::int64_t step, int worker) {
  if (fault_asked("checkpoint_write", step, worker)) std::raise(SIGKILL);
  if (fault_asked("checkpoint_full", step, worker))
    throw std::system_error(ENOSPC, std::generic_category(), "write (THINWIRE_FAULT)");
}

// Called at the end of every training step.
inline void step_fault_point(std::int64_t step, int worker) {
  if (fault_asked("step", step, worker)) std::raise(SIGKILL);
}

}  // namespace thinwire::trainer
