// How means in flight share a link with each other and with control messages. Two workers on one thread, over
// links on a clock that the test moves: what leaves when is exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>

#include "comm/backend/threads/thread_transport.h"
#include "comm/collectives/lane.h"
#include "comm/collectives/segments.h"
#include "comm/control.h"
#include "comm/mean.h"
#include "comm/shaped_transport.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

using std::chrono::milliseconds;

struct Sent {
  std::uint64_t operation = 0;
  Traffic traffic = Traffic::kWire;
};

// What a link saw.
struct Counts {
  std::vector<Sent> sent;  // in the order of leaving
  int held = 0;            // messages accepted whose memory has not come back
  int most_held = 0;
};

// One message after the other at a rate, control or not, as a socket does; counts what passes.
class OrderedLink final : public Transport {
 public:
  OrderedLink(std::unique_ptr<Transport> inner, double bytes_per_ms, ClockFunction clock, Counts& counts)
      : inner_(std::move(inner)), bytes_per_ms_(bytes_per_ms), clock_(std::move(clock)), counts_(counts) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view name() const override { return inner_->name(); }
  Clock::time_point send(const OutgoingMessage& message) override {
    const auto time = std::chrono::duration<double, std::milli>(message.bytes.size() / bytes_per_ms_);
    free_ = std::max(free_, clock_()) + std::chrono::duration_cast<Clock::duration>(time);
    leaving_.push_back({free_, message});
    return free_;
  }
  void accept(int peer, std::uint64_t sequence) override {
    counts_.most_held = std::max(counts_.most_held, ++counts_.held);
    inner_->accept(peer, sequence);
  }
  void reuse(Buffer storage) override {
    if (!storage.empty()) --counts_.held;
    inner_->reuse(std::move(storage));
  }
  void poll(std::vector<TransportEvent>& events) override {
    while (!leaving_.empty() && leaving_.front().first <= clock_()) {
      const OutgoingMessage& message = leaving_.front().second;
      counts_.sent.push_back({message.sequence / kExchangesPerOperation, message.traffic});
      inner_->send(message);
      leaving_.pop_front();
    }
    inner_->poll(events);
  }
  void leave(std::string_view reason) noexcept override { inner_->leave(reason); }

 private:
  const std::unique_ptr<Transport> inner_;
  const double bytes_per_ms_;
  const ClockFunction clock_;
  Counts& counts_;
  Clock::time_point free_;
  std::deque<std::pair<Clock::time_point, OutgoingMessage>> leaving_;
};

// A segment takes 20 ms.
constexpr double kBytesPerMs = kSegmentBytes / 20.0;
constexpr std::size_t kFp32Segment = kSegmentBytes / sizeof(float);

using MakeLink =
    std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>, ClockFunction, Counts&)>;

std::unique_ptr<Transport> ordered(std::unique_ptr<Transport> inner, ClockFunction clock, Counts& counts) {
  return std::make_unique<OrderedLink>(std::move(inner), kBytesPerMs, std::move(clock), counts);
}

class TwoWorkers {
 public:
  explicit TwoWorkers(const MakeLink& make_link = ordered) {
    const auto world = std::make_shared<ThreadWorld>(2);
    for (int r = 0; r < 2; ++r) {
      auto link = make_link(
          make_thread_transport(world, r), [this] { return now_; }, counts_[r]);
      communicators_.push_back(std::make_unique<Communicator>(std::move(link), 1e6));
    }
  }

  // The mean of `segments` segments as operation `id` of both workers.
  void submit_mean(std::uint64_t id, std::size_t segments) {
    for (int r = 0; r < 2; ++r) {
      auto& values = values_[{id, r}];
      values.assign(segments * kFp32Segment, 1.0f + r);
      const std::span<float> span(values);
      operations_[r][id] = CodedMean::make({.fragment = static_cast<std::uint32_t>(id)}, codec_, span,
                                           encode_values(codec_, span, 0));
    }
  }
  void submit_barrier(std::uint64_t id) {
    for (auto& operations : operations_) {
      operations[id] = std::make_shared<ExchangeOperation>(barrier_request);
    }
  }

  // Advances these workers' operations, the older first as an engine does, and the clock in steps of 1 ms,
  // until the condition holds. Time passed in ms.
  int run_until(const std::function<bool()>& condition, std::vector<int> ranks = {0, 1}) {
    for (int ms = 0; ms < 100'000; ++ms) {
      // Several rounds, so that all that can happen in an instant does.
      for (int round = 0; round < 2; ++round) {
        for (const int r : ranks) {
          std::erase_if(operations_[r],
                        [&](auto& one) { return one.second->advance(*communicators_[r], one.first); });
        }
      }
      if (condition()) return ms;
      now_ += milliseconds(1);
    }
    ADD_FAILURE() << "nothing after 100 s";
    return -1;
  }

  bool is_done(std::uint64_t id) const {
    return !operations_[0].contains(id) && !operations_[1].contains(id);
  }
  const Counts& counts(int rank) const { return counts_[rank]; }
  const std::vector<float>& mean(std::uint64_t id) { return values_[{id, 0}]; }

 private:
  Clock::time_point now_ = Clock::now();
  Counts counts_[2];
  const std::shared_ptr<const quant::Codec> codec_ = quant::make_codec({.name = "fp32"});
  std::map<std::pair<std::uint64_t, int>, std::vector<float>> values_;
  std::vector<std::unique_ptr<Communicator>> communicators_;
  std::map<std::uint64_t, std::shared_ptr<Operation>> operations_[2];
};

TEST(Pacing, LetsFragmentsTakeTurns) {
  TwoWorkers workers;
  workers.submit_mean(1, 24);
  workers.run_until([&] { return workers.counts(0).sent.size() == 4; });
  workers.submit_mean(2, 12);
  workers.submit_mean(3, 12);
  workers.run_until([&] { return workers.counts(0).sent.size() == 30; });
  // From where all three send.
  const auto& sent = workers.counts(0).sent;
  std::map<std::uint64_t, int> shares;
  for (std::size_t i = 8; i < 29; ++i) ++shares[sent[i].operation];
  for (std::uint64_t id = 1; id <= 3; ++id) EXPECT_NEAR(shares[id], 7, 1) << id;
  for (std::size_t i = 8; i + 1 < 29; ++i) EXPECT_NE(sent[i].operation, sent[i + 1].operation) << i;
  workers.run_until([&] { return workers.is_done(1) && workers.is_done(2) && workers.is_done(3); });
  EXPECT_EQ(workers.mean(3).back(), 1.5f);
}

TEST(Pacing, KeepsTheLinkBusy) {
  TwoWorkers workers;
  workers.submit_mean(1, 20);
  const int ms = workers.run_until([&] { return workers.is_done(1); });
  EXPECT_GE(ms, 400);
  EXPECT_LE(ms, 440) << "20 segments of 20 ms, each started a tick late";
}

// 64 MiB under way on a link that keeps the order.
TEST(Pacing, LetsAControlMessageWaitForOneSegmentWhereTheLinkKeepsTheOrder) {
  TwoWorkers workers;
  workers.submit_mean(1, 256);
  for (std::uint64_t id = 2; id < 8; ++id) {
    workers.run_until([&] { return workers.counts(0).sent.size() >= 5 * id; });
    workers.submit_barrier(id);
    EXPECT_LE(workers.run_until([&] { return workers.is_done(id); }), 22);
  }
  EXPECT_FALSE(workers.is_done(1));
}

TEST(Pacing, LetsAControlMessageWaitForNoSegmentOnAShapedLink) {
  const LinkSpec link{
      .up_bits_per_s = 8e3 * kBytesPerMs, .down_bits_per_s = 8e3 * kBytesPerMs, .rtt_s = 0.02};
  TwoWorkers workers([&](std::unique_ptr<Transport> inner, ClockFunction clock, Counts&) {
    return make_shaped_transport(std::move(inner), link, std::move(clock));
  });
  workers.submit_mean(1, 256);
  for (std::uint64_t id = 2; id < 8; ++id) {
    int ticks = 0;
    workers.run_until([&] { return ++ticks == 27; });
    workers.submit_barrier(id);
    EXPECT_LE(workers.run_until([&] { return workers.is_done(id); }), 12) << "half a round trip";
  }
  EXPECT_FALSE(workers.is_done(1));
}

TEST(Pacing, SendsAWindowToAPeerThatIsLateAndNoMore) {
  TwoWorkers workers;
  workers.submit_mean(1, 100);
  int ticks = 0;
  workers.run_until([&] { return ++ticks == 1000; }, {0});
  EXPECT_EQ(workers.counts(0).sent.size(), Lane::kWindow);
  workers.run_until([&] { return workers.is_done(1); });
  EXPECT_LE(workers.counts(0).most_held, static_cast<int>(Lane::kWindow));
  EXPECT_LE(workers.counts(1).most_held, static_cast<int>(Lane::kWindow));
  EXPECT_EQ(workers.counts(0).held, 0) << "all memory came back";
}

}  // namespace
}  // namespace thinwire::comm
