// Calls of a channel that gRPC still holds. Whoever owns the channel waits for zero before letting go: a
// channel that ends on one of gRPC's own threads would have that thread wait for itself.
//
// Thread safety of CallCount: all members, from any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include "comm/clock.h"

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
  bool wait_until(Clock::time_point deadline) {
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

// Keeps a call alive, and counted, from its start until gRPC is done with it. A member of the call.
template <class Call>
class CallHold {
 public:
  explicit CallHold(std::shared_ptr<CallCount> count) : count_(std::move(count)) {}

  // Before gRPC is told of the call.
  void begin(std::shared_ptr<Call> call) {
    call_ = std::move(call);
    count_->began();
  }
  // The last line of the call's OnDone: the call, and this with it, may be gone afterwards.
  void end() {
    const auto count = count_;
    call_.reset();
    count->ended();
  }

 private:
  const std::shared_ptr<CallCount> count_;
  std::shared_ptr<Call> call_;
};

}  // namespace thinwire::comm
