// Calls of a channel that gRPC still holds. Whoever owns the channel waits for zero before letting go: a
// channel that ends on one of gRPC's own threads would have that thread wait for itself.
//
// In a call's OnDone:  const auto count = count_;  self_.reset();  count->ended();
// Thread safety: all members, from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace thinwire::comm {

class CallCount {
 public:
  void began() {
    const std::scoped_lock lock(mutex_);
    ++count_;
  }
  void ended() {
    const std::scoped_lock lock(mutex_);
    --count_;
    changed_.notify_all();
  }
  // False if some have not ended by then.
  bool wait_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, deadline, [&] { return count_ == 0; });
  }
  // For calls that were cancelled: they end at once.
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;  // guarded by mutex_
};

}  // namespace thinwire::comm
