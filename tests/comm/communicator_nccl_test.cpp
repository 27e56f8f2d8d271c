// The communicator suite over the NCCL transport, and what can go wrong with NCCL, without a GPU: ranks are
// threads, NCCL is tests/comm/fake_nccl.h, and control is the `threads` backend.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cstring>
#include <iterator>

#include "comm/backend/nccl/nccl_backend.h"
#include "comm/backend/nccl/nccl_lane.h"
#include "comm/backend/nccl/nccl_transport.h"
#include "comm/backend/threads/thread_transport.h"
#include "comm/control.h"
#include "comm/link.h"
#include "tests/comm/communicator_suite.h"
#include "tests/comm/fake_nccl.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

using ::testing::HasSubstr;
using Kind = CommError::Kind;

constexpr double kPatient = 60;
constexpr double kShort = 3;  // tests of deadlines wait for it; long enough for a busy machine to start

// A world of threads joined by a fake NCCL; faults are those of the last rank.
class FakeWorld {
 public:
  explicit FakeWorld(int size, FakeNcclFaults faults = {})
      : size_(size), faults_(faults), threads_(std::make_shared<ThreadWorld>(size)) {}

  std::unique_ptr<Communicator> connect(int rank, double timeout_s) {
    auto transport = make_nccl_transport(network_.make_api(rank == size_ - 1 ? faults_ : FakeNcclFaults()),
                                         make_thread_transport(threads_, rank), timeout_s);
    return std::make_unique<Communicator>(std::move(transport), timeout_s);
  }
  // As SuiteWorld::run.
  void run(double timeout_s, const std::string& link, const std::function<void(Communicator&)>& body) {
    std::barrier all_returned(size_);
    run_ranks(size_, [&](int rank) {
      std::unique_ptr<Communicator> communicator;
      std::exception_ptr error;
      try {
        communicator = shape(connect(rank, timeout_s), parse_link(link));
        body(*communicator);
      } catch (...) {
        error = std::current_exception();
      }
      all_returned.arrive_and_wait();
      communicator.reset();
      if (error) std::rethrow_exception(error);
    });
    EXPECT_EQ(network_.num_pairs(), 0);
    EXPECT_EQ(network_.num_slots(), 0);
  }
  void run(double timeout_s, const std::function<void(Communicator&)>& body) {
    run(timeout_s, "unlimited", body);
  }
  FakeNcclNetwork& network() { return network_; }

 private:
  const int size_;
  const FakeNcclFaults faults_;
  const std::shared_ptr<ThreadWorld> threads_;
  FakeNcclNetwork network_;
};

SuiteWorld nccl_world(int size, const std::string& link = "unlimited") {
  return {.name = "nccl (fake), " + link, .size = size, .run = [=](double timeout_s, const auto& body) {
            FakeWorld(size).run(timeout_s, link, body);
          }};
}

INSTANTIATE_TEST_SUITE_P(Nccl, CommunicatorSuite,
                         testing::Values(nccl_world(1), nccl_world(2), nccl_world(3), nccl_world(4),
                                         nccl_world(8), nccl_world(3, "1gbit/2ms")));
INSTANTIATE_TEST_SUITE_P(Nccl, CommunicatorFaults,
                         testing::Values(nccl_world(2), nccl_world(3), nccl_world(4), nccl_world(8),
                                         nccl_world(3, "1gbit/2ms")));

std::unique_ptr<Work> start_exchange(Communicator& communicator, std::uint64_t sequence, const Buffer& mine) {
  ExchangeRequest request{.sequence = sequence, .max_bytes = std::size_t{1} << 28, .what = "test"};
  request.outgoing.assign(static_cast<std::size_t>(communicator.size()), mine);
  return communicator.exchange(std::move(request));
}

// Long messages share a lane: the order must be the receiver's, whatever the sender's.
TEST(NcclTransport, KeepsLongMessagesApartThatRanksStartInUnlikeOrders) {
  FakeWorld(3).run(kPatient, [](Communicator& communicator) {
    std::vector<std::uint64_t> order = {0, 1, 2, 3, 4};
    std::rotate(order.begin(), order.begin() + communicator.rank() * 2, order.end());
    std::vector<Buffer> mine(order.size());
    std::vector<std::unique_ptr<Work>> works(order.size());
    for (const std::uint64_t i : order) {
      mine[i] = pattern(NcclLane::kPartBytes / 2 * (i + 1) + 77, communicator.rank(), 0, i);
      works[i] = start_exchange(communicator, i, mine[i]);
    }
    for (const std::uint64_t i : order) {
      const std::vector<Buffer> received = wait(communicator, *works[i]);
      for (int from = 0; from < communicator.size(); ++from) {
        EXPECT_TRUE(received[from] == pattern(NcclLane::kPartBytes / 2 * (i + 1) + 77, from, 0, i))
            << from << ' ' << i;
      }
    }
  });
}

TEST(NcclTransport, NamesThePeerOfASendThatNcclFails) {
  FakeWorld(2, {.fail_at_send = 2}).run(kPatient, [](Communicator& communicator) {
    const Buffer mine(3 * NcclLane::kPartBytes);
    const CommError error = expect_comm_error([&] {
      const auto work = start_exchange(communicator, 1, mine);
      wait(communicator, *work);
    });
    EXPECT_EQ(error.kind(), Kind::kPeerLost);
    EXPECT_THAT(error.what(), HasSubstr("ncclRemoteError"));
    EXPECT_THAT(error.what(), HasSubstr("NCCL_DEBUG=INFO"));
    EXPECT_THAT(error.what(), HasSubstr("peer " + std::to_string(1 - communicator.rank())));
  });
}

TEST(NcclTransport, ReportsSizesThatNcclSeesDiffer) {
  FakeWorld(2, {.resizes_sends = true}).run(kPatient, [](Communicator& communicator) {
    const Buffer mine(10'000);
    EXPECT_THAT(expect_comm_error([&] {
                  const auto work = start_exchange(communicator, 1, mine);
                  wait(communicator, *work);
                }).what(),
                HasSubstr("the pair is broken"));
  });
}

TEST(NcclTransport, GivesUpJoiningByTheDeadlineAndNamesTheMissing) {
  FakeNcclNetwork network;
  const auto threads = std::make_shared<ThreadWorld>(3);
  // Rank 2 never comes.
  run_ranks(2, [&](int rank) {
    const CommError error = expect_comm_error(
        [&] { make_nccl_transport(network.make_api(), make_thread_transport(threads, rank), kShort); });
    // One of the two may hear that the other gave up.
    EXPECT_THAT(error.what(), HasSubstr("peer 2: expected it to join NCCL within 3 s"));
  });
  EXPECT_EQ(network.num_pairs(), 0);
}

TEST(NcclTransport, GivesUpOnAPairThatNcclNeverJoins) {
  FakeNcclNetwork network;
  const auto threads = std::make_shared<ThreadWorld>(2);
  std::barrier both_tried(2);
  run_ranks(2, [&](int rank) {
    const FakeNcclFaults faults{.never_joins = rank == 1};
    std::unique_ptr<Transport> transport;
    std::string failure;
    try {
      transport = make_nccl_transport(network.make_api(faults), make_thread_transport(threads, rank), kShort);
    } catch (const CommError& error) {
      failure = error.what();
    }
    both_tried.arrive_and_wait();
    // Rank 0's side of the pairs came up.
    EXPECT_THAT(failure, HasSubstr(rank == 0 ? "" : "rank 1, peer 0: expected it to join NCCL"));
    EXPECT_EQ(failure.empty(), rank == 0);
  });
  EXPECT_EQ(network.num_pairs(), 0);
}

TEST(NcclTransport, TellsThePeersThatNcclRefusedToJoin) {
  FakeNcclNetwork network;
  const auto threads = std::make_shared<ThreadWorld>(2);
  run_ranks(2, [&](int rank) {
    const FakeNcclFaults faults{.refuses_receives = rank == 1};
    const CommError error = expect_comm_error([&] {
      make_nccl_transport(network.make_api(faults), make_thread_transport(threads, rank), kPatient);
    });
    EXPECT_EQ(error.kind(), Kind::kPeerLost) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(rank == 1 ? "peer 0: fake NCCL: join: ncclSystemError"
                                                  : "peer 1: it left while joining"));
  });
  EXPECT_EQ(network.num_pairs(), 0);
}

// What waits on the device for a rank that left would wait for ever: the deadline ends it.
TEST(NcclTransport, EndsWhatWaitsOnTheDeviceWhenAPeerFallsSilentHalfWay) {
  const Buffer bytes(3 * NcclLane::kPartBytes);
  std::array<std::unique_ptr<Work>, 2> works;  // dropped only when all is over: rank 1 says nothing
  FakeWorld world(2);
  world.run(kShort, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    works[rank] = start_exchange(communicator, 1, bytes);
    if (rank == 1) {
      while (world.network().num_slots() == 0) works[rank]->test();  // until a part is under way
      return;
    }
    const CommError error = expect_comm_error([&] { wait(communicator, *works[rank]); });
    EXPECT_EQ(error.kind(), Kind::kTimeout) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("peer 1"));
    EXPECT_EQ(world.network().num_pairs(), 2) << "those of rank 1 only";
    EXPECT_EQ(world.network().num_waiting_frees(), 0) << "all lanes end before memory is freed";
  });
}

TEST(NcclTransport, HearsFromNcclOfAPeerThatDied) {
  const Buffer bytes(3 * NcclLane::kPartBytes);
  std::array<std::unique_ptr<Work>, 2> works;  // dropped only when all is over: rank 1 says nothing
  FakeWorld world(2);
  world.run(kPatient, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    works[rank] = start_exchange(communicator, 1, bytes);
    if (rank == 1) {
      while (world.network().num_slots() == 0) works[rank]->test();  // until a part is under way
      world.network().break_pairs();
      return;
    }
    const CommError error = expect_comm_error([&] { wait(communicator, *works[rank]); });
    EXPECT_EQ(error.kind(), Kind::kPeerLost) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("peer 1: fake NCCL: the pair is broken: ncclRemoteError"));
  });
}

TEST(NcclLane, LooksForErrorsWhileItsLastPartIsOnTheDevice) {
  FakeNcclNetwork network;
  const auto api = network.make_api();
  const NcclId id = api->make_id();
  NcclLane lane(*api, id, NcclLane::Direction::kSend);
  const auto other = api->join(id, false);
  const Buffer bytes(100);
  lane.send(1, bytes);
  std::vector<NcclLane::Progress> progress;
  for (int i = 0; i < 10; ++i) lane.pump(progress);
  EXPECT_TRUE(progress.empty());
  network.break_pairs();
  EXPECT_THROW(lane.pump(progress), NcclError);
}

// Control, played by hand against the transport of rank 0.
class ForgedPeer : public ::testing::Test {
 protected:
  struct Record {
    std::uint32_t magic = 0x54574e31;
    std::uint8_t kind = 2;
    std::uint8_t traffic = 0;
    std::uint16_t reserved = 0;
    std::uint64_t sequence = 7;
    std::uint64_t num_bytes = 0;
  };

  void SetUp() override {
    const NcclId id = peer_api_->make_id();
    send({.kind = 1, .num_bytes = id.size()}, Buffer(id.begin(), id.end()));
    lane_ = peer_api_->join(id, true);
    // Rank 0's id is 2: the fake counts.
    NcclId other{};
    other[0] = std::byte{2};
    back_lane_ = peer_api_->join(other, false);
    transport_ = make_nccl_transport(network_.make_api(), make_thread_transport(threads_, 0), kPatient);
  }

  void send(const Record& record, const Buffer& inside = {}) {
    Buffer bytes(sizeof record);
    std::memcpy(bytes.data(), &record, sizeof record);
    bytes.insert(bytes.end(), inside.begin(), inside.end());
    send_bytes(bytes);
  }
  void send_bytes(const Buffer& bytes) {
    peer_->send({.peer = 0, .sequence = number_++, .traffic = Traffic::kControl, .bytes = bytes});
  }
  std::vector<TransportEvent> poll() {
    std::vector<TransportEvent> events;
    for (int i = 0; i < 5; ++i) transport_->poll(events);
    return events;
  }
  void expect_refusal(const std::string& part) {
    const CommError error = expect_comm_error([&] { poll(); });
    EXPECT_EQ(error.kind(), Kind::kBadMessage);
    EXPECT_THAT(error.what(), HasSubstr(part));
  }

  FakeNcclNetwork network_;
  const std::shared_ptr<ThreadWorld> threads_ = std::make_shared<ThreadWorld>(2);
  const std::unique_ptr<NcclApi> peer_api_ = network_.make_api();
  const std::unique_ptr<Transport> peer_ = make_thread_transport(threads_, 1);
  std::unique_ptr<NcclPair> lane_, back_lane_;
  std::uint64_t number_ = 0;
  std::unique_ptr<Transport> transport_;
};

TEST_F(ForgedPeer, IsHeardWhenItKeepsToTheProtocol) {
  send({.num_bytes = 3}, bytes_of("abc"));
  const auto events = poll();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, TransportEvent::Kind::kAnnounced);
  EXPECT_EQ(events[0].num_bytes, 3u);
}

TEST_F(ForgedPeer, IsRefusedWithBytesOfAnotherProgram) {
  send({.magic = 1});
  expect_refusal("24 bytes that begin with 0x1; run the same release");
}

TEST_F(ForgedPeer, IsRefusedWithARecordCutShort) {
  send_bytes(Buffer(23));
  expect_refusal("got 23 bytes");
}

TEST_F(ForgedPeer, IsRefusedWithARecordThatHoldsLessThanItSays) {
  send({.num_bytes = 3}, bytes_of("ab"));
  expect_refusal("a record of 3 bytes that holds 2");
}

TEST_F(ForgedPeer, IsRefusedWithARecordOfUnknownKind) {
  send({.kind = 9});
  expect_refusal("a record of kind 9");
}

TEST_F(ForgedPeer, IsRefusedWithASecondId) {
  send({.kind = 1, .num_bytes = 128}, Buffer(128));
  expect_refusal("an id of NCCL out of place");
}

TEST_F(ForgedPeer, IsRefusedWithARecordTooLongToMakeRoomFor) {
  send_bytes(Buffer(4096));
  expect_refusal("a record that announced 4096 bytes");
}

TEST_F(ForgedPeer, IsRefusedWhenItAnswersWhatWasNotSent) {
  send({.kind = 3});
  expect_refusal("an answer to seq 7 that fits nothing");
}

TEST_F(ForgedPeer, IsRefusedWhenItConfirmsWhatItDidNotAccept) {
  const Buffer mine(5000);
  transport_->send({.peer = 1, .sequence = 7, .bytes = mine});
  send({.kind = 4});
  expect_refusal("an answer to seq 7 that fits nothing");
}

TEST_F(ForgedPeer, IsRefusedWhenItAcceptsTwice) {
  const Buffer mine(5000);
  transport_->send({.peer = 1, .sequence = 7, .bytes = mine});
  send({.kind = 3});
  send({.kind = 3});
  expect_refusal("an answer to seq 7 that fits nothing");
}

// A control whose bytes come some polls after their announcement.
class LateControl final : public Transport {
 public:
  explicit LateControl(std::unique_ptr<Transport> inner) : inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view name() const override { return "late"; }
  Clock::time_point send(const OutgoingMessage& message) override { return inner_->send(message); }
  void accept(int peer, std::uint64_t sequence) override { inner_->accept(peer, sequence); }
  void leave(std::string_view reason) noexcept override { inner_->leave(reason); }
  void poll(std::vector<TransportEvent>& events) override {
    ++num_polls_;
    std::vector<TransportEvent> fresh;
    inner_->poll(fresh);
    for (TransportEvent& event : fresh) {
      const bool late = event.kind == TransportEvent::Kind::kReceived;
      (late ? held_ : events).push_back(std::move(event));
    }
    if (num_polls_ % 8 != 0) return;
    // The last one first, too.
    std::move(held_.rbegin(), held_.rend(), std::back_inserter(events));
    held_.clear();
  }

 private:
  const std::unique_ptr<Transport> inner_;
  int num_polls_ = 0;
  std::vector<TransportEvent> held_;
};

TEST(NcclTransport, HearsAPeerInItsOrderAndLosesItOnlyAfterwards) {
  FakeNcclNetwork network;
  const auto threads = std::make_shared<ThreadWorld>(2);
  run_ranks(2, [&](int rank) {
    auto control = std::make_unique<LateControl>(make_thread_transport(threads, rank));
    const auto transport = make_nccl_transport(network.make_api(), std::move(control), kPatient);
    if (rank == 1) {
      const Buffer first = bytes_of("first"), second = bytes_of("second");
      transport->send({.peer = 0, .sequence = 1, .bytes = first});
      transport->send({.peer = 0, .sequence = 2, .bytes = second});
      transport->leave("gone");
      return;
    }
    std::vector<TransportEvent> events;
    while (events.empty() || events.back().kind != TransportEvent::Kind::kLost) transport->poll(events);
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[0].sequence, 1u);
    EXPECT_EQ(events[1].sequence, 2u);
    EXPECT_EQ(events[2].reason, "gone");
  });
}

TEST(NcclBackend, SaysWhatIsMissing) {
  try {
    require_nccl();
    GTEST_SKIP() << "this build has NCCL, and this machine a device";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), HasSubstr("comm.backend = \"nccl\""));
    EXPECT_THAT(error.what(), HasSubstr("or use backend \"mpi\" or \"threads\""));
  }
  EXPECT_THROW(connect({.name = "nccl"}), std::invalid_argument);
  EXPECT_THROW(require_backend("nccl"), std::invalid_argument);
  EXPECT_NO_THROW(require_backend("threads"));
  EXPECT_THROW(require_backend("pigeons"), std::invalid_argument);
}

}  // namespace
}  // namespace thinwire::comm
