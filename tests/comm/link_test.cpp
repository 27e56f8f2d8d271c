#include "comm/link.h"

#include <gtest/gtest.h>

#include <map>
#include <stdexcept>

#include "comm/backend/threads/thread_transport.h"
#include "comm/shaped_transport.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

TEST(Link, ReadsItsGrammar) {
  const LinkSpec symmetric = parse_link("20mbit/40ms");
  EXPECT_EQ(symmetric.up_bits_per_s, 20e6);
  EXPECT_EQ(symmetric.down_bits_per_s, 20e6);
  EXPECT_EQ(symmetric.rtt_s, 0.04);
  const LinkSpec access = parse_link("up=5mbit,down=50mbit,rtt=80ms");
  EXPECT_EQ(access.up_bits_per_s, 5e6);
  EXPECT_EQ(access.down_bits_per_s, 50e6);
  EXPECT_EQ(access.rtt_s, 0.08);
  EXPECT_TRUE(parse_link("unlimited").unlimited());
  EXPECT_EQ(parse_link("1.5gbit/250us").up_bits_per_s, 1.5e9);
  EXPECT_EQ(parse_link("rtt=1s").rtt_s, 1.0);
  EXPECT_EQ(parse_link("rtt=1s").up_bits_per_s, 0.0);
}

TEST(Link, WritesWhatItReads) {
  for (const char* text : {"unlimited", "20mbit/40ms", "up=5mbit,down=50mbit,rtt=80ms", "1.5gbit/250us",
                           "1bit/0ms", "down=64kbit,rtt=1s", "10gbit/0ms", "rtt=100ms"}) {
    EXPECT_EQ(to_string(parse_link(text)), text);
  }
}

TEST(Link, RefusesWhatItCannotReadAndShowsAnExample) {
  for (const char* text : {"",
                           "20mbit",
                           "/40ms",
                           "20/40ms",
                           "20mbit/40",
                           "20mbit/40ms/1",
                           "mbit/40ms",
                           "-1mbit/40ms",
                           "0mbit/40ms",
                           "nanmbit/1ms",
                           "infmbit/1ms",
                           "1e30gbit/1ms",
                           "20mbit/-1ms",
                           "20mbit/2e9s",
                           "up=5mbit,up=6mbit",
                           "left=5mbit",
                           "up=",
                           "up",
                           "up=5mbit;down=5mbit",
                           "20mbit/40ms "}) {
    try {
      parse_link(text);
      ADD_FAILURE() << "accepted \"" << text << "\"";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("20mbit/40ms"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  }
}

TEST(Link, ChargesWholePacketsOfEthernet) {
  EXPECT_EQ(ethernet_bytes(1448), 1514u);
  EXPECT_EQ(ethernet_bytes(0), 66u);
  EXPECT_EQ(ethernet_bytes(1), 67u);
  EXPECT_EQ(ethernet_bytes(1449), 1449u + 2 * 66);
  EXPECT_EQ(ethernet_bytes(10 * 1448), 10u * 1514);
}

// Worlds of shaped transports on one thread, with a clock that the test moves: arrivals are exact.
class ShapedWorld {
 public:
  ShapedWorld(int size, const LinkSpec& link) {
    const auto world = std::make_shared<ThreadWorld>(size);
    for (int r = 0; r < size; ++r) {
      ranks_.push_back(make_shaped_transport(make_thread_transport(world, r), link, [this] { return now_; }));
    }
  }

  // With headers the message takes exactly `packets` full packets.
  void send(int from, int to, std::uint64_t sequence, std::size_t packets, Traffic traffic = Traffic::kWire) {
    payloads_.push_back(std::make_unique<Buffer>(packets * 1448));
    ranks_[from]->send({to, sequence, traffic, *payloads_.back()});
  }

  // Moves the clock in steps of 1 ms until message `sequence` is delivered at `rank`; the time in ms, or -1
  // after 10 s.
  int arrival_ms(int rank, std::uint64_t sequence) {
    for (;;) {
      poll_all();
      const auto found = arrivals_.find({rank, sequence});
      if (found != arrivals_.end()) return found->second;
      if (now_ms_ == 10'000) return -1;
      ++now_ms_;
      now_ += std::chrono::milliseconds(1);
    }
  }

  Transport& rank(int r) { return *ranks_[r]; }
  Clock::time_point now() const { return now_; }

 private:
  void poll_all() {
    // Three times, so that what one rank hands over is seen by another in the same instant.
    for (int round = 0; round < 3; ++round) {
      for (std::size_t r = 0; r < ranks_.size(); ++r) {
        std::vector<TransportEvent> events;
        ranks_[r]->poll(events);
        for (const TransportEvent& event : events) {
          if (event.kind == TransportEvent::Kind::kAnnounced) ranks_[r]->accept(event.peer, event.sequence);
          if (event.kind == TransportEvent::Kind::kReceived) {
            arrivals_.emplace(std::pair(static_cast<int>(r), event.sequence), now_ms_);
          }
        }
      }
    }
  }

  Clock::time_point now_;
  int now_ms_ = 0;
  std::vector<std::unique_ptr<Transport>> ranks_;
  std::vector<std::unique_ptr<Buffer>> payloads_;
  std::map<std::pair<int, std::uint64_t>, int> arrivals_;
};

// 1 ms for a full packet.
constexpr double kPacketPerMs = 1514 * 8 * 1000;

TEST(ShapedTransport, DeliversALoneMessageAfterOneTransmissionAndHalfARoundTrip) {
  ShapedWorld world(2, {.up_bits_per_s = kPacketPerMs, .down_bits_per_s = kPacketPerMs, .rtt_s = 0.04});
  world.send(0, 1, 1, 100);
  EXPECT_EQ(world.arrival_ms(1, 1), 100 + 20);
}

TEST(ShapedTransport, IsLimitedByTheSlowerOfUplinkAndDownlink) {
  ShapedWorld slow_down(2,
                        {.up_bits_per_s = 10 * kPacketPerMs, .down_bits_per_s = kPacketPerMs, .rtt_s = 0.04});
  slow_down.send(0, 1, 1, 100);
  EXPECT_EQ(slow_down.arrival_ms(1, 1), 20 + 100) << "first bit after 20 ms, then the downlink's rate";
  ShapedWorld slow_up(2,
                      {.up_bits_per_s = kPacketPerMs, .down_bits_per_s = 10 * kPacketPerMs, .rtt_s = 0.04});
  slow_up.send(0, 1, 1, 100);
  EXPECT_EQ(slow_up.arrival_ms(1, 1), 100 + 20);
  ShapedWorld only_delay(2, {.rtt_s = 0.04});
  only_delay.send(0, 1, 1, 100);
  EXPECT_EQ(only_delay.arrival_ms(1, 1), 20);
}

TEST(ShapedTransport, SharesTheUplinkAmongAllPeersInOrder) {
  ShapedWorld world(3, {.up_bits_per_s = kPacketPerMs, .down_bits_per_s = kPacketPerMs, .rtt_s = 0.04});
  world.send(0, 1, 1, 100);
  world.send(0, 2, 2, 50);
  EXPECT_EQ(world.arrival_ms(1, 1), 120);
  EXPECT_EQ(world.arrival_ms(2, 2), 170);
}

TEST(ShapedTransport, SharesTheDownlinkAmongAllSenders) {
  ShapedWorld world(3, {.up_bits_per_s = kPacketPerMs, .down_bits_per_s = kPacketPerMs, .rtt_s = 0.04});
  world.send(1, 0, 1, 100);
  world.send(2, 0, 2, 100);
  EXPECT_EQ(world.arrival_ms(0, 1), 120);
  EXPECT_EQ(world.arrival_ms(0, 2), 220);
}

TEST(ShapedTransport, LetsBothDirectionsRunAtOnce) {
  ShapedWorld world(2, {.up_bits_per_s = kPacketPerMs, .down_bits_per_s = kPacketPerMs, .rtt_s = 0.04});
  world.send(0, 1, 1, 100);
  world.send(1, 0, 1, 100);
  EXPECT_EQ(world.arrival_ms(1, 1), 120);
  EXPECT_EQ(world.arrival_ms(0, 1), 120);
}

TEST(ShapedTransport, LetsControlOvertakeDataAndChargesItToLaterData) {
  ShapedWorld world(2, {.up_bits_per_s = kPacketPerMs, .down_bits_per_s = 0, .rtt_s = 0.04});
  world.send(0, 1, 1, 100);
  world.send(0, 1, 2, 2, Traffic::kControl);
  world.send(0, 1, 3, 10);
  EXPECT_EQ(world.arrival_ms(1, 2), 2 + 20);
  EXPECT_EQ(world.arrival_ms(1, 1), 100 + 20);
  EXPECT_EQ(world.arrival_ms(1, 3), 112 + 20);
}

TEST(ShapedTransport, SaysWhenAMessageLeavesAndWhenItNextHasWork) {
  ShapedWorld world(2, {.up_bits_per_s = kPacketPerMs, .down_bits_per_s = kPacketPerMs, .rtt_s = 0.04});
  EXPECT_EQ(world.rank(0).next_event(), std::nullopt);
  const Buffer payload(100 * 1448);
  const auto leaves = world.rank(0).send({1, 1, Traffic::kWire, payload});
  EXPECT_EQ(leaves, world.now() + std::chrono::milliseconds(100));
  EXPECT_EQ(world.rank(0).next_event(), leaves);
}

TEST(Shape, HandsAnUnlimitedLinkBackUnchanged) {
  auto solo = make_solo();
  const Communicator* before = solo.get();
  solo = shape(std::move(solo), parse_link("unlimited"));
  EXPECT_EQ(solo.get(), before);
}

TEST(Shape, RefusesACommunicatorInUse) {
  auto solo = make_solo();
  barrier(*solo, 1);
  EXPECT_THROW(shape(std::move(solo), parse_link("1mbit/1ms")), std::logic_error);
}

// A real run with real time: at least the model's time, and the same bytes.
TEST(Shape, TakesItsTimeAndDeliversTheSameBytes) {
  const auto makers = make_thread_world(3, 30);
  const LinkSpec link = parse_link("8mbit/20ms");
  const auto begin = Clock::now();  // of all: a rank that starts late finds the others' messages under way
  run_ranks(3, [&](int rank) {
    ProgressEngine engine([&] { return shape(makers[rank](), link); });
    engine.start();
    const auto all = engine.gather(pattern(50'000, rank, 0, 0), 50'000, "test");
    const double seconds = seconds_of(Clock::now() - begin);
    for (int r = 0; r < 3; ++r) EXPECT_EQ(all[r], pattern(50'000, r, 0, 0));
    // Two messages up and two down, one after the other.
    EXPECT_GE(seconds, 2 * ethernet_bytes(50'000) / 1e6 + 0.010);
    EXPECT_LT(seconds, 5.0);
    engine.barrier();
  });
}

}  // namespace
}  // namespace thinwire::comm
