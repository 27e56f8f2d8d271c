#include "comm/shaped_transport.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace thinwire::comm {

namespace {

// The size that a peer announces is any number: so long counts as for ever, and such times still add up.
constexpr double kForEverS = 24 * 3600;

Clock::duration bounded(double seconds) {
  return duration_of(std::min(seconds, kForEverS));
}

// One direction of the access link.
class Server {
 public:
  explicit Server(double bits_per_s) : bits_per_s_(bits_per_s) {}

  Clock::duration transmission(std::size_t num_bytes) const {
    if (bits_per_s_ == 0) return Clock::duration::zero();
    return bounded(8.0 * static_cast<double>(ethernet_bytes(num_bytes)) / bits_per_s_);
  }

  // When a message that could start at `earliest` has passed.
  Clock::time_point serve(Clock::time_point earliest, std::size_t num_bytes, Traffic traffic) {
    const auto time = transmission(num_bytes);
    if (traffic == Traffic::kWire) return data_free_ = std::max(earliest, data_free_) + time;
    data_free_ = std::max(earliest, data_free_) + time;
    return control_free_ = std::max(earliest, control_free_) + time;
  }

 private:
  const double bits_per_s_;  // 0: unlimited
  Clock::time_point data_free_;
  Clock::time_point control_free_;
};

class ShapedTransport final : public Transport {
 public:
  ShapedTransport(std::unique_ptr<Transport> inner, const LinkSpec& link, ClockFunction clock)
      : inner_(std::move(inner)),
        clock_(std::move(clock)),
        one_way_(bounded(link.rtt_s / 2)),
        up_(link.up_bits_per_s),
        down_(link.down_bits_per_s),
        last_due_(inner_->size()) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view name() const override { return inner_->name(); }

  Clock::time_point send(const OutgoingMessage& message) override {
    const auto leaves = up_.serve(clock_(), message.bytes.size(), message.traffic);
    // Every message is announced: the announcement's arrival says when the message is due.
    leaving_.emplace(leaves, message)->second.expected = false;
    return leaves;
  }

  void accept(int peer, std::uint64_t sequence) override { inner_->accept(peer, sequence); }
  void reuse(Buffer storage) override { inner_->reuse(std::move(storage)); }
  void keep(std::shared_ptr<const void> owner) override { inner_->keep(std::move(owner)); }

  void poll(std::vector<TransportEvent>& events) override {
    const auto now = clock_();
    while (!leaving_.empty() && leaving_.begin()->first <= now) {
      inner_->send(leaving_.begin()->second);
      leaving_.erase(leaving_.begin());
    }
    inner_events_.clear();
    inner_->poll(inner_events_);
    for (TransportEvent& event : inner_events_) pass_or_hold(event, now, events);
    while (!arriving_.empty() && arriving_.begin()->first <= now) {
      events.push_back(std::move(arriving_.begin()->second));
      arriving_.erase(arriving_.begin());
    }
  }

  std::optional<Clock::time_point> next_event() const override {
    auto next = inner_->next_event();
    const auto earlier = [&](Clock::time_point time) { next = next ? std::min(*next, time) : time; };
    if (!leaving_.empty()) earlier(leaving_.begin()->first);
    if (!arriving_.empty()) earlier(arriving_.begin()->first);
    return next;
  }

  void leave(std::string_view reason) noexcept override {
    leaving_.clear();
    inner_->leave(reason);
  }

 private:
  void pass_or_hold(TransportEvent& event, Clock::time_point now, std::vector<TransportEvent>& events) {
    using Kind = TransportEvent::Kind;
    if (event.kind == Kind::kAnnounced) {
      const auto due = due_of(event, now);
      due_[{event.peer, event.sequence}] = due;
      last_due_[event.peer] = std::max(last_due_[event.peer], due);
      event.due = due;
      events.push_back(std::move(event));  // the receiver may already make room
    } else if (event.kind == Kind::kReceived) {
      const auto due = due_.extract({event.peer, event.sequence});
      arriving_.emplace(due.mapped(), std::move(event));
    } else if (event.kind == Kind::kLost) {
      arriving_.emplace(std::max(now + one_way_, last_due_[event.peer]), std::move(event));
    } else {
      events.push_back(std::move(event));
    }
  }

  Clock::time_point due_of(const TransportEvent& event, Clock::time_point now) {
    const auto last_bit = now + one_way_;
    const auto first_bit = last_bit - up_.transmission(event.num_bytes);
    return std::max(down_.serve(first_bit, event.num_bytes, event.traffic), last_bit);
  }

  const std::unique_ptr<Transport> inner_;
  const ClockFunction clock_;
  const Clock::duration one_way_;
  Server up_;
  Server down_;
  std::multimap<Clock::time_point, OutgoingMessage> leaving_;       // by the time that their last bit leaves
  std::map<std::pair<int, std::uint64_t>, Clock::time_point> due_;  // of announced messages
  std::vector<Clock::time_point> last_due_;                         // by peer
  std::multimap<Clock::time_point, TransportEvent> arriving_;       // received, not yet due
  std::vector<TransportEvent> inner_events_;
};

}  // namespace

std::unique_ptr<Transport> make_shaped_transport(std::unique_ptr<Transport> inner, const LinkSpec& link,
                                                 ClockFunction clock) {
  return std::make_unique<ShapedTransport>(std::move(inner), link, std::move(clock));
}

}  // namespace thinwire::comm
