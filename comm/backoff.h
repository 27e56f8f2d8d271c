// How a thread waits for messages that it can only poll for: a bounded spin for the fast path, then yielding,
// then short sleeps, so that a late peer does not cost a training thread its core.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "comm/transport.h"

namespace thinwire::comm {

class Backoff {
 public:
  // Call whenever something moved.
  void reset() {
    if (!std::exchange(idle_, false)) return;
    typical_wait_ = (3 * typical_wait_ + std::min<Clock::duration>(Clock::now() - idle_since_, kSlow)) / 4;
  }

  // Call after a poll that moved nothing: returns at once while spinning, yields for a while, and then says
  // how long to sleep. It yields for longer where waits have been short: in a stream of messages a sleep
  // would cost more than it saves. A sleep is a sixteenth of the wait so far, from 50 us to 1 ms: it delays
  // what we wait for by 6 % at most. It ends at next_event if that is earlier.
  [[nodiscard]] Clock::duration next_sleep(std::optional<Clock::time_point> next_event) {
    const auto now = Clock::now();
    if (!std::exchange(idle_, true)) idle_since_ = now;
    const auto waited = now - idle_since_;
    if (waited < kSpin) return Clock::duration::zero();
    if (waited < yield_time()) {
      std::this_thread::yield();
      return Clock::duration::zero();
    }
    const auto sleep = std::clamp<Clock::duration>(waited / 16, kShortestSleep, kLongestSleep);
    if (!next_event) return sleep;
    return std::clamp<Clock::duration>(*next_event - now, Clock::duration::zero(), sleep);
  }

  void pause(std::optional<Clock::time_point> next_event) {
    const auto sleep = next_sleep(next_event);
    if (sleep > Clock::duration::zero()) std::this_thread::sleep_for(sleep);
  }

 private:
  Clock::duration yield_time() const {
    return typical_wait_ < kSlow / 2 ? std::max<Clock::duration>(kYield, 2 * typical_wait_) : kYield;
  }

  static constexpr std::chrono::microseconds kSpin{20};
  static constexpr std::chrono::microseconds kYield{200};
  static constexpr std::chrono::microseconds kSlow{2000};  // where a late wake-up is no matter
  static constexpr std::chrono::microseconds kShortestSleep{50};
  static constexpr std::chrono::microseconds kLongestSleep{1000};

  Clock::duration typical_wait_ = kYield;
  bool idle_ = false;
  Clock::time_point idle_since_;  // while idle_
};

}  // namespace thinwire::comm
