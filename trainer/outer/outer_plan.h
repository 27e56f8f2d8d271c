// What an outer method will send and hold, told by sizes alone.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/options/outer_options.h"
#include "trainer/outer/flat_parameters.h"

namespace thinwire::trainer {

struct OuterPlan {
  std::int64_t commits = 0;  // of all fragments over the whole run
  std::uint64_t wire_bytes =
      0;  // that worker 0 sends over the whole run, headers counted; the others about as much
  std::uint64_t held_bytes = 0;       // all through the run, beside the live parameters and their gradients
  std::uint64_t in_flight_bytes = 0;  // at most, while fragments travel
};

// travelling: what takes part, in the order of the task. Throws std::invalid_argument as make_outer_loop
// does.
OuterPlan plan_outer(const OuterOptions& options, int workers, std::int64_t total_steps,
                     const std::vector<FlatItem>& travelling);

// The step of a period of `period` steps at which fragment p of `count` is sent.
inline std::int64_t offset_of_fragment(std::size_t p, std::size_t count, std::int64_t period) {
  return static_cast<std::int64_t>(p) * period / static_cast<std::int64_t>(count);
}

// Whether a period ends with this step, for a fragment of this offset.
inline bool ends_period(std::int64_t step, std::int64_t offset, std::int64_t period) {
  return step > 0 && (step - offset) % period == 0;
}

}  // namespace thinwire::trainer
