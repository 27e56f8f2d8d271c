#include "comm/backend/threads/thread_transport.h"

#include <iterator>
#include <map>
#include <utility>

#include "comm/backend/spare_buffers.h"

namespace thinwire::comm {

void ThreadWorld::put(int to, Letter letter) {
  const std::scoped_lock lock(boxes_[to].mutex);
  boxes_[to].letters.push_back(std::move(letter));
}

void ThreadWorld::collect(int rank, std::vector<Letter>& letters) {
  const std::scoped_lock lock(boxes_[rank].mutex);
  std::move(boxes_[rank].letters.begin(), boxes_[rank].letters.end(), std::back_inserter(letters));
  boxes_[rank].letters.clear();
}

namespace {

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<ThreadWorld> world, int rank) : world_(std::move(world)), rank_(rank) {}
  ~ThreadTransport() override { leave("its communicator was closed"); }

  int rank() const override { return rank_; }
  int size() const override { return world_->size(); }
  std::string_view name() const override { return "threads"; }

  Clock::time_point send(const OutgoingMessage& message) override {
    Buffer copy = spare_.take();
    copy.assign(message.bytes.begin(), message.bytes.end());
    world_->put(
        message.peer,
        {.from = rank_, .sequence = message.sequence, .traffic = message.traffic, .data = std::move(copy)});
    ready_.push_back(
        {.kind = TransportEvent::Kind::kSent, .peer = message.peer, .sequence = message.sequence});
    return Clock::now();
  }

  void accept(int peer, std::uint64_t sequence) override {
    auto held = held_.extract({peer, sequence});
    ready_.push_back({.kind = TransportEvent::Kind::kReceived,
                      .peer = peer,
                      .sequence = sequence,
                      .data = std::move(held.mapped())});
  }

  void reuse(Buffer storage) override { spare_.put(std::move(storage)); }

  void poll(std::vector<TransportEvent>& events) override {
    std::move(ready_.begin(), ready_.end(), std::back_inserter(events));
    ready_.clear();
    world_->collect(rank_, letters_);
    for (ThreadWorld::Letter& letter : letters_) events.push_back(open(letter));
    letters_.clear();
  }

  void leave(std::string_view reason) noexcept override {
    if (std::exchange(left_, true)) return;
    for (int r = 0; r < size(); ++r) {
      if (r != rank_) world_->put(r, {.from = rank_, .last = true, .reason = std::string(reason)});
    }
  }

 private:
  TransportEvent open(ThreadWorld::Letter& letter) {
    if (letter.last) {
      return {.kind = TransportEvent::Kind::kLost, .peer = letter.from, .reason = std::move(letter.reason)};
    }
    const std::size_t num_bytes = letter.data.size();
    held_[{letter.from, letter.sequence}] = std::move(letter.data);
    return {.kind = TransportEvent::Kind::kAnnounced,
            .peer = letter.from,
            .sequence = letter.sequence,
            .traffic = letter.traffic,
            .num_bytes = num_bytes};
  }

  const std::shared_ptr<ThreadWorld> world_;
  const int rank_;
  bool left_ = false;
  SpareBuffers spare_;
  std::vector<TransportEvent> ready_;
  std::vector<ThreadWorld::Letter> letters_;
  std::map<std::pair<int, std::uint64_t>, Buffer> held_;  // announced, not accepted
};

}  // namespace

std::unique_ptr<Transport> make_thread_transport(std::shared_ptr<ThreadWorld> world, int rank) {
  return std::make_unique<ThreadTransport>(std::move(world), rank);
}

}  // namespace thinwire::comm
