// What MPI itself makes of the mean's task: for `thinwire bench collective` to measure us by.
#pragma once

#include <memory>
#include <span>

#include "comm/progress_engine.h"

namespace thinwire::comm {

// An operation of a world over MPI whose advance() is one blocking MPI_Allreduce; all ranks submit it.
class MpiAllreduce : public Operation {
 public:
  // Adds up the values of all ranks in place; at most 2^31 - 1, untouched by others until the ticket is done.
  // Throws std::invalid_argument in a build without MPI.
  static std::shared_ptr<MpiAllreduce> make(std::span<float> values);
  // Of the call alone, after a barrier. After the ticket is done.
  virtual double seconds() const = 0;
};

}  // namespace thinwire::comm
