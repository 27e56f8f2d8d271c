#include "tests/comm/communicator_suite.h"

#include <algorithm>
#include <stdexcept>

#include "comm/control.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

constexpr double kPatient = 60;  // no test waits for it
constexpr double kShort = 0.3;   // tests of deadlines wait for it
constexpr std::size_t kMaxBytes = std::size_t{1} << 28;

using Kind = CommError::Kind;

// A message of another size from everybody to everybody, with its expected content.
std::size_t size_of(std::size_t base, int from, int to) {
  return base == 0 ? 0 : base + 3 * from + 5 * to;
}

struct Exchange {
  std::vector<Buffer> outgoing;
  std::unique_ptr<Work> work;
};

Exchange start(Communicator& communicator, std::uint64_t sequence, std::size_t base) {
  Exchange exchange;
  for (int to = 0; to < communicator.size(); ++to) {
    const std::size_t num_bytes = size_of(base, communicator.rank(), to);
    exchange.outgoing.push_back(pattern(num_bytes, communicator.rank(), to, sequence));
  }
  exchange.work = communicator.exchange({.sequence = sequence,
                                         .outgoing = {exchange.outgoing.begin(), exchange.outgoing.end()},
                                         .max_bytes = kMaxBytes,
                                         .what = "test"});
  return exchange;
}

void finish(Communicator& communicator, Exchange& exchange, std::uint64_t sequence, std::size_t base) {
  const auto received = wait(communicator, *exchange.work);
  ASSERT_EQ(received.size(), static_cast<std::size_t>(communicator.size()));
  for (int from = 0; from < communicator.size(); ++from) {
    const std::size_t num_bytes = size_of(base, from, communicator.rank());
    EXPECT_TRUE(received[from] == pattern(num_bytes, from, communicator.rank(), sequence))
        << "rank " << communicator.rank() << " from " << from << " sequence " << sequence << " base " << base;
  }
}

TEST_P(CommunicatorSuite, ExchangesMessagesOfAnySizeThatDifferByPeer) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    std::vector<std::size_t> bases = {0, 1, 1000, 2040, 2048, 2049, 70'000, 3'000'000};
    if (communicator.size() == 2)
      bases.push_back(9'000'000);  // more than one part, where a backend has parts
    std::uint64_t sequence = 0;
    for (const std::size_t base : bases) {
      Exchange exchange = start(communicator, sequence, base);
      finish(communicator, exchange, sequence, base);
      ++sequence;
    }
  });
}

TEST_P(CommunicatorSuite, KeepsManyExchangesInFlightApart) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    const std::uint64_t count = 40;
    // Sequences need 64 bits, and ranks may start and finish in any order.
    const auto sequence_of = [](std::uint64_t i) { return i << 56 | (i * 1'000'003 + 5); };
    std::vector<std::uint64_t> order;
    for (std::uint64_t i = 0; i < count; ++i) order.push_back(i);
    std::rotate(order.begin(), order.begin() + communicator.rank() * 3, order.end());
    std::vector<Exchange> exchanges(count);
    for (const std::uint64_t i : order) exchanges[i] = start(communicator, sequence_of(i), i % 4 * 1500);
    std::reverse(order.begin(), order.end());
    for (const std::uint64_t i : order) finish(communicator, exchanges[i], sequence_of(i), i % 4 * 1500);
  });
}

TEST_P(CommunicatorSuite, KnowsThatItIsCalledToAnExchangeThatItHasNotBegun) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    EXPECT_FALSE(communicator.is_called(77)) << "nobody has begun";
    barrier(communicator, 1);  // all have looked
    const int caller = communicator.size() - 1;
    const auto deadline = Clock::now() + std::chrono::seconds(50);
    while (communicator.rank() != caller && !communicator.is_called(77)) ASSERT_LT(Clock::now(), deadline);
    Exchange exchange = start(communicator, 77, 100);
    finish(communicator, exchange, 77, 100);
  });
}

std::vector<Buffer> exchange_all(Communicator& communicator, std::uint64_t sequence, const Buffer& mine,
                                 Traffic traffic, std::size_t max_bytes = kMaxBytes) {
  ExchangeRequest request{
      .sequence = sequence, .max_bytes = max_bytes, .traffic = traffic, .what = "exchange_all"};
  request.outgoing.assign(communicator.size(), mine);
  const auto work = communicator.exchange(std::move(request));
  return wait(communicator, *work);
}

TEST_P(CommunicatorSuite, CountsBytesOncePerDestinationByKindOfTraffic) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    const auto peers = static_cast<std::uint64_t>(communicator.size() - 1);
    const std::size_t mine = 100 + communicator.rank();
    exchange_all(communicator, 1, Buffer(mine), Traffic::kWire);
    exchange_all(communicator, 2, Buffer(3 * mine), Traffic::kControl);
    exchange_all(communicator, 3, Buffer(), Traffic::kWire);
    barrier(communicator, 4);
    broadcast(communicator, 5, 0, Buffer(7), 7);
    EXPECT_EQ(communicator.sent().wire, peers * mine);
    EXPECT_EQ(communicator.sent().control, peers * (3 * mine + (communicator.rank() == 0 ? 7 : 0)));
  });
}

// Rank 0 enters only after every other rank has looked for a while whether the barrier opens without it.
TEST_P(CommunicatorSuite, HoldsEverybodyAtABarrierUntilTheLastHasEntered) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    std::unique_ptr<Work> entered;
    if (communicator.rank() != 0) {
      entered = communicator.exchange(barrier_request(communicator, 1));
      for (int i = 0; i < 200; ++i) EXPECT_FALSE(entered->test());
    }
    exchange_all(communicator, 2, Buffer(), Traffic::kControl);
    if (communicator.rank() == 0) entered = communicator.exchange(barrier_request(communicator, 1));
    wait(communicator, *entered);
  });
}

TEST_P(CommunicatorSuite, BroadcastsTheBytesOfAnyRoot) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    for (int root = 0; root < communicator.size(); ++root) {
      const Buffer mine = communicator.rank() == root ? pattern(5000, root, 0, 0) : Buffer();
      EXPECT_EQ(broadcast(communicator, root, root, mine, 5000), pattern(5000, root, 0, 0));
    }
    EXPECT_THROW(broadcast(communicator, 99, communicator.size(), {}, 0), std::invalid_argument);
  });
}

TEST_P(CommunicatorSuite, RefusesARequestOfAnotherSizeOrASequenceInFlight) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    ExchangeRequest short_request{.sequence = 1, .what = "short"};
    EXPECT_THROW(communicator.exchange(short_request), std::invalid_argument);
    if (communicator.size() == 1) return;
    const auto work = communicator.exchange(barrier_request(communicator, 2));
    EXPECT_THROW(communicator.exchange(barrier_request(communicator, 2)), std::invalid_argument);
    EXPECT_THROW(work->take(), std::logic_error);
    wait(communicator, *work);
  });
}

bool contains(const CommError& error, const std::string& part) {
  return std::string(error.what()).find(part) != std::string::npos;
}

// Which rank notices first is open; the others hear of it as a lost peer, with the same words.
void expect_failure(const CommError& error, Kind kind, const std::string& part) {
  EXPECT_TRUE(error.kind() == kind || error.kind() == Kind::kPeerLost) << error.what();
  EXPECT_TRUE(contains(error, part)) << error.what() << "\nshould contain: " << part;
}

TEST_P(CommunicatorFaults, ReportsRanksThatAreOutOfPhaseByTheDeadline) {
  GetParam().run(kShort, [](Communicator& communicator) {
    const std::uint64_t mine = communicator.rank() == 0 ? 7 : 8;
    const CommError error =
        expect_comm_error([&] { exchange_all(communicator, mine, Buffer(10), Traffic::kWire); });
    expect_failure(error, Kind::kOutOfPhase, "different order");
    EXPECT_TRUE(contains(error, "rank")) << error.what();
  });
}

TEST_P(CommunicatorFaults, ReportsKindsOfTrafficThatDiffer) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    const Traffic traffic = communicator.rank() == 0 ? Traffic::kWire : Traffic::kControl;
    expect_failure(expect_comm_error([&] { exchange_all(communicator, 1, Buffer(10), traffic); }),
                   Kind::kOutOfPhase, "different operations");
  });
}

TEST_P(CommunicatorFaults, RefusesAMessageOverTheLimitBeforeItMakesRoom) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    const Buffer mine(communicator.rank() == 0 ? 100'000 : 10);
    const CommError error = expect_comm_error([&] {
      exchange_all(communicator, 1, mine, Traffic::kWire, 99'999);
      barrier(communicator, 2);  // rank 0 got nothing but short messages
    });
    expect_failure(error, Kind::kBadMessage, "expected at most 99999 bytes, it announced 100000");
  });
}

TEST_P(CommunicatorFaults, TimesOutOnASilentPeerAndNamesIt) {
  const int silent = GetParam().size - 1;
  GetParam().run(kShort, [silent](Communicator& communicator) {
    if (communicator.rank() == silent) return;
    const CommError error =
        expect_comm_error([&] { exchange_all(communicator, 17, Buffer(10), Traffic::kWire); });
    expect_failure(error, Kind::kTimeout, "peer " + std::to_string(silent) + ", seq 17");
    EXPECT_TRUE(contains(error, "[exchange_all] rank")) << error.what();
    EXPECT_TRUE(contains(error, "comm.timeout_s")) << error.what();
  });
}

TEST_P(CommunicatorFaults, HearsWhyAPeerLeft) {
  const int leaver = GetParam().size - 1;
  GetParam().run(kPatient, [leaver](Communicator& communicator) {
    if (communicator.rank() == leaver) {
      communicator.fail(CommError(Kind::kBadMessage, "the disk is on fire"));
      return;
    }
    const CommError error =
        expect_comm_error([&] { exchange_all(communicator, 1, Buffer(5000), Traffic::kWire); });
    EXPECT_EQ(error.kind(), Kind::kPeerLost);
    EXPECT_TRUE(contains(error, "the disk is on fire")) << error.what();
  });
}

TEST_P(CommunicatorFaults, StillDeliversWhatAPeerSentBeforeItLeft) {
  const int leaver = GetParam().size - 1;
  GetParam().run(kPatient, [leaver](Communicator& communicator) {
    // The leaver has all it needs when it goes; the others look only then.
    const auto last = communicator.exchange(barrier_request(communicator, 1));
    if (communicator.rank() == leaver) {
      wait(communicator, *last);
      communicator.fail(CommError(Kind::kClosed, "done"));
      return;
    }
    EXPECT_NO_THROW(wait(communicator, *last));
  });
}

TEST_P(CommunicatorFaults, StaysBrokenAfterAnErrorAndSaysSo) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    if (communicator.rank() == 0) communicator.fail(CommError(Kind::kBadMessage, "bad codes"));
    for (std::uint64_t sequence = 1; sequence < 4; ++sequence) {
      const CommError error = expect_comm_error([&] { barrier(communicator, sequence); });
      EXPECT_TRUE(contains(error, "bad codes")) << error.what();
    }
  });
}

TEST_P(CommunicatorFaults, TellsThePeersOfAnExchangeThatWasDropped) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    const CommError error = expect_comm_error([&] {
      auto work = communicator.exchange(barrier_request(communicator, 1));
      if (communicator.rank() == 0) work.reset();
      if (work) wait(communicator, *work);  // perhaps it was sent all the same
      barrier(communicator, 2);
    });
    EXPECT_EQ(error.kind(), communicator.rank() == 0 ? Kind::kClosed : Kind::kPeerLost);
    EXPECT_TRUE(contains(error, "dropped")) << error.what();
  });
}

TEST_P(CommunicatorFaults, NoticesThatRanksNameDifferentRoots) {
  GetParam().run(kPatient, [](Communicator& communicator) {
    const int root = communicator.rank() == 0 ? 0 : 1;
    const Buffer mine(10);
    EXPECT_EQ(expect_comm_error([&] { broadcast(communicator, 1, root, mine, 10); }).kind(),
              Kind::kBadMessage);
  });
}

}  // namespace

}  // namespace thinwire::comm
