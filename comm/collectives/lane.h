// A row of exchanges 0, 1, ... that travel one after the other, a few at a time.
//
// Two rules hold a lane back. Of exchanges whose messages have not all arrived at most kWindow are under way:
// that bounds the memory, and with it the rate x round trip that one lane fills. And an exchange starts only
// when the messages of the lane's others have left: so operations take turns, what is coded is still in the
// cache when it is sent, and a control message finds at most one segment of each lane before it where the
// transport keeps the order. A link that holds messages until a known time, a shaped one, would stand idle
// between two segments: there one more waits. Control messages overtake on such a link.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace thinwire::comm {

class Lane {
 public:
  static constexpr std::size_t kWindow = 8;
  static constexpr std::size_t kSendingOnHold = 2;  // exchanges of any lane

  explicit Lane(std::size_t count = 0) : count_(count) {}

  bool done() const { return num_done_ == count_; }
  // The exchange to start next, and the one that ends next.
  std::size_t next() const { return num_done_ + under_way_.size(); }
  std::size_t oldest() const { return num_done_; }

  bool may_start(const Communicator& communicator) const {
    if (next() == count_ || under_way_.size() == kWindow) return false;
    const auto has_left = [](const Exchange& exchange) { return exchange.work->sent(); };
    if (std::ranges::all_of(under_way_, has_left)) return true;
    return communicator.sending() < kSendingOnHold && next_event().has_value();
  }

  // frames: what is sent, which the lane keeps until the exchange has ended; and if begin throws, too: some
  // of them may be on their way.
  template <class Begin>
  void start(std::vector<Buffer> frames, const Begin& begin) {
    under_way_.push_back({std::move(frames), nullptr});
    under_way_.back().work = begin();
  }

  // Moves what can be moved; true if the oldest exchange has all its messages.
  bool oldest_is_complete() { return !under_way_.empty() && under_way_.front().work->test(); }

  struct Ended {
    std::vector<Buffer> sent, received;
  };
  Ended take_oldest() {
    Ended ended{std::move(under_way_.front().frames), under_way_.front().work->take()};
    under_way_.pop_front();
    ++num_done_;
    return ended;
  }

  std::optional<Clock::time_point> next_event() const {
    return under_way_.empty() ? std::nullopt : under_way_.front().work->next_event();
  }

 private:
  struct Exchange {
    std::vector<Buffer> frames;
    std::unique_ptr<Work> work;  // ends before its frames
  };
  std::size_t count_;
  std::size_t num_done_ = 0;
  std::deque<Exchange> under_way_;
};

}  // namespace thinwire::comm
