// A peer that sends what no worker of ours would. Whatever it is, the operation fails with an error that
// names it, before the deadline, and the process goes on: each case here is followed by the next in the same
// process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

#include "comm/backend/threads/thread_transport.h"
#include "comm/collectives/chunks.h"
#include "comm/collectives/frame.h"
#include "comm/mean.h"
#include "comm/shaped_transport.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

using ::testing::HasSubstr;
using Kind = CommError::Kind;

constexpr double kPatient = 60;  // no test waits for it
constexpr std::size_t kValues = 100;
constexpr std::uint64_t kHuge = std::uint64_t{1} << 63;

MeanSpec spec_of(Leg leg, std::uint64_t step = 60, std::uint32_t fragment = 2) {
  return {.step = step, .fragment = fragment, .seed = 5, .leg = leg};
}

std::shared_ptr<const quant::Codec> int8() {
  return quant::make_codec({.name = "int8", .block = 64});
}

// What worker 1 owes worker 0 as the first exchange of a mean: on the reduce leg the chunk that 0 owns.
Buffer frame_of(const MeanSpec& spec, int worker = 1) {
  const auto codec = int8();
  const std::size_t n = spec.leg == Leg::kGather ? kValues : chunk_of(0, 2, kValues, 64).num_values;
  Buffer frame(quant::kWireHeaderBytes + codec->encoded_bytes(n));
  codec->encode(std::vector<float>(n, 0.5f), 0, std::span(frame).subspan(quant::kWireHeaderBytes));
  seal_frame(frame_info(spec, *codec, n, {.worker = worker}), frame);
  return frame;
}

// Worker 0 of a world of two; the test is worker 1.
class Victim {
 public:
  Victim()
      : engine_([world = world_] {
          return std::make_unique<Communicator>(make_thread_transport(world, 0), kPatient);
        }) {
    engine_.start();
  }

  void send(Buffer frame, std::uint64_t operation = 0) {
    world_->put(0, {.from = 1, .sequence = exchange_sequence(operation, 0), .data = std::move(frame)});
  }

  Ticket submit(const MeanSpec& spec) {
    const auto codec = int8();
    Buffer payload(codec->encoded_bytes(kValues));
    codec->encode(std::vector<float>(kValues, 1.0f), 0, payload);
    mean_ = CodedMean::make(spec, codec, kValues, payload);
    return engine_.submit(mean_);
  }

  CommError error_of(const MeanSpec& spec) {
    return expect_comm_error([&] { submit(spec).wait(); });
  }

  // Of the last mean submitted, whose ticket is done.
  float first_value() const {
    std::vector<float> values(kValues);
    mean_->decode_mean(values);
    return values[0];
  }

  ProgressEngine& engine() { return engine_; }

 private:
  std::shared_ptr<ThreadWorld> world_ = std::make_shared<ThreadWorld>(2);
  std::shared_ptr<CodedMean> mean_;
  ProgressEngine engine_;
};

void expect_refused(const CommError& error, Kind kind, const std::string& part) {
  EXPECT_EQ(error.kind(), kind) << error.what();
  EXPECT_THAT(error.what(), HasSubstr(part));
}

TEST(HostilePeer, IsRefusedNothingWhenItBehaves) {
  Victim victim;
  victim.send(frame_of(spec_of(Leg::kGather)));
  victim.submit(spec_of(Leg::kGather)).wait();
  EXPECT_NEAR(victim.first_value(), 0.75f, 0.01f);
}

TEST(HostilePeer, IsToldOfAFrameCutAtAnyByte) {
  for (const Leg leg : {Leg::kGather, Leg::kReduce}) {
    const Buffer whole = frame_of(spec_of(leg));
    for (std::size_t length = 0; length < whole.size(); ++length) {
      Victim victim;
      victim.send(Buffer(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
      expect_refused(victim.error_of(spec_of(leg)), Kind::kBadMessage, "message length");
    }
  }
}

TEST(HostilePeer, IsToldOfAFrameThatIsLongerThanItSays) {
  Buffer frame = frame_of(spec_of(Leg::kGather));
  frame.push_back(std::byte{0});
  Victim victim;
  victim.send(frame);
  expect_refused(victim.error_of(spec_of(Leg::kGather)), Kind::kBadMessage, "message length");
}

// Offsets of docs/wire_format.md.
TEST(HostilePeer, IsToldWhichFieldOfItsHeaderIsWrong) {
  struct Lie {
    const char* field;
    std::size_t offset;
    std::size_t bytes;
    std::uint64_t value;
  };
  const std::vector<Lie> lies = {
      {"magic", 0, 1, 'X'},
      {"version 1, found 2", 4, 2, 2},
      {"codec", 6, 1, 255},
      {"rounding 0, found 7", 7, 1, 7},
      {"block 64, found 128", 8, 4, 128},
      {"block 64, found 0", 8, 4, 0},
      {"fragment 2, found 3", 12, 4, 3},
      {"worker 1, found 0", 16, 4, 0},
      {"leg", 20, 1, 9},
      {"rotated 0, found 2", 21, 1, 2},
      {"k 0, found 64", 22, 2, 64},
      {"step 60, found 59", 24, 8, 59},
      {"num_values 100, found 4294967295", 32, 4, 0xffffffff},
      {"segment 0, found 2147483648", 36, 4, 0x80000000},
      {"payload_bytes 108, found 9223372036854775808", 40, 8, kHuge},
      {"checksum", 48, 8, 1},
      {"checksum", 56, 8, 1},
  };
  for (const Lie& lie : lies) {
    Buffer frame = frame_of(spec_of(Leg::kGather));
    std::memcpy(frame.data() + lie.offset, &lie.value, lie.bytes);
    Victim victim;
    victim.send(frame);
    expect_refused(victim.error_of(spec_of(Leg::kGather)), Kind::kBadMessage, lie.field);
  }
}

TEST(HostilePeer, IsToldOfCodesThatWereChangedOnTheWay) {
  Buffer frame = frame_of(spec_of(Leg::kReduce));
  frame.back() ^= std::byte{1};
  Victim victim;
  victim.send(frame);
  expect_refused(victim.error_of(spec_of(Leg::kReduce)), Kind::kBadMessage, "checksum");
}

TEST(HostilePeer, CannotReplayAFragmentOfAnEarlierStep) {
  const Buffer first = frame_of(spec_of(Leg::kGather, 60));
  Victim victim;
  victim.send(first, 0);
  victim.submit(spec_of(Leg::kGather, 60)).wait();
  victim.send(first, 1);
  expect_refused(victim.error_of(spec_of(Leg::kGather, 90)), Kind::kBadMessage, "step 90, found 60");
}

TEST(HostilePeer, CannotSendAFragmentOutOfItsTurn) {
  Victim victim;
  victim.send(frame_of(spec_of(Leg::kGather, 60, 3)));
  expect_refused(victim.error_of(spec_of(Leg::kGather, 60, 2)), Kind::kBadMessage, "fragment 2, found 3");
}

TEST(HostilePeer, CannotSpeakForAnotherWorker) {
  Victim victim;
  victim.send(frame_of(spec_of(Leg::kGather), 0));
  expect_refused(victim.error_of(spec_of(Leg::kGather)), Kind::kBadMessage, "worker 1, found 0");
}

TEST(HostilePeer, MaySendItsFragmentsBeforeTheyAreAskedFor) {
  Victim victim;
  victim.send(frame_of(spec_of(Leg::kGather, 61)), 1);
  victim.send(frame_of(spec_of(Leg::kGather, 60)), 0);
  const Ticket first = victim.submit(spec_of(Leg::kGather, 60));
  victim.submit(spec_of(Leg::kGather, 61)).wait();
  first.wait();
}

TEST(HostilePeer, CannotSendAFragmentTwice) {
  Victim victim;
  const Ticket later = victim.submit(spec_of(Leg::kGather, 60));  // what polls
  victim.send(frame_of(spec_of(Leg::kGather, 61)), 1);
  victim.send(frame_of(spec_of(Leg::kGather, 61)), 1);
  expect_refused(expect_comm_error([&] { later.wait(); }), Kind::kOutOfPhase, "twice");
}

TEST(HostilePeer, ChangesNothingByAFragmentThatWasTakenAlready) {
  Victim victim;
  victim.send(frame_of(spec_of(Leg::kGather, 60)), 0);
  victim.submit(spec_of(Leg::kGather, 60)).wait();
  victim.send(frame_of(spec_of(Leg::kGather, 60)), 0);
  victim.send(frame_of(spec_of(Leg::kGather, 61)), 1);
  victim.submit(spec_of(Leg::kGather, 61)).wait();
  EXPECT_NEAR(victim.first_value(), 0.75f, 0.01f);
}

TEST(HostilePeer, CannotFloodWithMessagesThatNobodyAskedFor) {
  Victim victim;
  const Ticket waiting = victim.submit(spec_of(Leg::kGather));
  for (std::uint64_t i = 1; i < 10'000; ++i) victim.send(Buffer(1), i);
  expect_refused(expect_comm_error([&] { waiting.wait(); }), Kind::kOutOfPhase, "far ahead");
}

// A transport whose peer announces what the test says; nothing may be accepted.
class AnnouncingTransport final : public Transport {
 public:
  explicit AnnouncingTransport(std::vector<TransportEvent> events) : events_(std::move(events)) {}
  int rank() const override { return 0; }
  int size() const override { return 2; }
  std::string_view name() const override { return "announcing"; }
  Clock::time_point send(const OutgoingMessage& message) override {
    sending.push_back(message.bytes);
    return Clock::now();
  }
  void accept(int, std::uint64_t) override { ++accepted; }
  void poll(std::vector<TransportEvent>& events) override {
    std::move(events_.begin(), events_.end(), std::back_inserter(events));
    events_.clear();
  }
  void leave(std::string_view) noexcept override {}

  int accepted = 0;
  std::vector<std::span<const std::byte>> sending;

 private:
  std::vector<TransportEvent> events_;
};

CommError error_after(std::vector<TransportEvent> events, int accepted) {
  auto transport = std::make_unique<AnnouncingTransport>(std::move(events));
  AnnouncingTransport& peer = *transport;
  Communicator communicator(std::move(transport), kPatient);
  const auto work =
      communicator.exchange({.sequence = 7, .outgoing = {{}, {}}, .max_bytes = 1000, .what = "test"});
  const CommError error = expect_comm_error([&] {
    for (int i = 0; i < 3; ++i) work->test();
  });
  EXPECT_EQ(peer.accepted, accepted);
  return error;
}

TransportEvent announced(std::uint64_t num_bytes, std::uint64_t sequence = 7) {
  return {.kind = TransportEvent::Kind::kAnnounced, .peer = 1, .sequence = sequence, .num_bytes = num_bytes};
}

// The mean sends, and only then finds what the peer announced before: a backend may read on.
TEST(HostilePeer, EndsAMeanThatKeepsWhatItWasSending) {
  for (const Leg leg : {Leg::kGather, Leg::kReduce}) {
    auto transport =
        std::make_unique<AnnouncingTransport>(std::vector{announced(kHuge, exchange_sequence(0, 0))});
    AnnouncingTransport& peer = *transport;
    Communicator communicator(std::move(transport), kPatient);
    const auto other = communicator.exchange({.sequence = 7, .outgoing = {{}, {}}, .what = "test"});
    other->test();  // hears of the message
    Buffer payload(int8()->encoded_bytes(kValues));
    const auto mean = CodedMean::make(spec_of(leg), int8(), kValues, payload);
    expect_refused(expect_comm_error([&] { mean->advance(communicator, 0); }), Kind::kBadMessage,
                   "announced");
    const std::size_t n = leg == Leg::kGather ? kValues : chunk_of(1, 2, kValues, 64).num_values;
    EXPECT_NO_THROW(quant::read_message(peer.sending.back(), frame_info(spec_of(leg), *int8(), n, {})));
  }
}

TEST(HostilePeer, GetsNoRoomForALengthOverTheLimit) {
  for (const std::uint64_t length : {std::uint64_t{1001}, kHuge, ~std::uint64_t{0}}) {
    expect_refused(error_after({announced(length)}, 0), Kind::kBadMessage,
                   "expected at most 1000 bytes, it announced " + std::to_string(length));
  }
}

// A shaped link computes when a message is due before anybody has judged its length.
TEST(HostilePeer, MovesNoTimeIntoThePastByALength) {
  for (const std::uint64_t length :
       {std::uint64_t{1} << 40, std::uint64_t{1} << 60, ~std::uint64_t{0} >> 8}) {
    std::vector<TransportEvent> announcements;
    for (std::uint64_t i = 0; i < 1000; ++i) announcements.push_back(announced(length, i));
    const Clock::time_point now{std::chrono::hours(1)};
    const auto shaped = make_shaped_transport(std::make_unique<AnnouncingTransport>(std::move(announcements)),
                                              {.up_bits_per_s = 1000, .down_bits_per_s = 1000, .rtt_s = 0.04},
                                              [now] { return now; });
    std::vector<TransportEvent> events;
    shaped->poll(events);
    ASSERT_EQ(events.size(), 1000u);
    Clock::time_point last = now;
    for (const TransportEvent& event : events) {
      EXPECT_GT(event.due, last) << length << " bytes, message " << event.sequence;
      last = event.due;
    }
  }
}

TEST(HostilePeer, CannotAnswerAnExchangeTwice) {
  expect_refused(error_after({announced(10), announced(10)}, 1), Kind::kOutOfPhase, "got two");
}

}  // namespace
}  // namespace thinwire::comm
