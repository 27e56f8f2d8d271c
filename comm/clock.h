// The clock of every deadline in comm/, and seconds on it.
#pragma once

#include <chrono>

namespace thinwire::comm {

using Clock = std::chrono::steady_clock;

// seconds: within 2^63 ns, 292 years, of zero.
inline Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

inline double seconds_of(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace thinwire::comm
