#include "comm/progress_engine.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "comm/mean.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

// Runs a function on the engine's thread.
class Call final : public Operation {
 public:
  explicit Call(std::function<bool(Communicator&, std::uint64_t id)> body) : body_(std::move(body)) {}
  bool advance(Communicator& communicator, std::uint64_t id) override { return body_(communicator, id); }

 private:
  const std::function<bool(Communicator&, std::uint64_t)> body_;
};

double thread_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TEST(ProgressEngine, GathersSmallMessagesByRank) {
  for (const int size : {1, 2, 3, 4}) {
    run_engines(size, [&](ProgressEngine& engine) {
      const Buffer mine = bytes_of("worker " + std::to_string(engine.rank()));
      const auto all = engine.gather(mine, 64, "names");
      ASSERT_EQ(all.size(), static_cast<std::size_t>(size));
      for (int r = 0; r < size; ++r) EXPECT_EQ(text_of(all[r]), "worker " + std::to_string(r));
      EXPECT_EQ(engine.sent().control, mine.size() * (size - 1));
      EXPECT_EQ(engine.sent().wire, 0u);
    });
  }
}

TEST(ProgressEngine, BroadcastsFromAnyRoot) {
  run_engines(3, [](ProgressEngine& engine) {
    for (int root = 0; root < 3; ++root) {
      const Buffer mine = engine.rank() == root ? bytes_of("tokenizer") : Buffer();
      EXPECT_EQ(text_of(engine.broadcast(root, mine, 64)), "tokenizer");
    }
  });
}

TEST(ProgressEngine, NumbersOperationsInTheOrderOfSubmission) {
  ProgressEngine engine(make_solo);
  engine.start();
  std::vector<std::uint64_t> ids;
  std::vector<Ticket> tickets;
  for (int i = 0; i < 5; ++i) {
    tickets.push_back(engine.submit(std::make_shared<Call>([&](Communicator&, std::uint64_t id) {
      ids.push_back(id);
      return true;
    })));
  }
  for (const Ticket& ticket : tickets) ticket.wait();
  EXPECT_EQ(ids, (std::vector<std::uint64_t>{0, 1, 2, 3, 4}));
}

TEST(ProgressEngine, PutsWhatAnOperationThrowsIntoItsTicketAndGoesOn) {
  ProgressEngine engine(make_solo);
  engine.start();
  const Ticket bad = engine.submit(std::make_shared<Call>(
      [](Communicator&, std::uint64_t) -> bool { throw std::runtime_error("no such fragment"); }));
  EXPECT_THROW(bad.wait(), std::runtime_error);
  EXPECT_TRUE(bad.done());
  EXPECT_THROW(bad.wait(), std::runtime_error) << "a second wait reports it again";
  engine.barrier();
}

TEST(ProgressEngine, RunsOperationsOnOneNamedThread) {
  ProgressEngine engine(make_solo);
  engine.start();
  char name[16] = {};
  engine
      .submit(std::make_shared<Call>([&](Communicator&, std::uint64_t) {
        pthread_getname_np(pthread_self(), name, sizeof(name));
        return true;
      }))
      .wait();
  EXPECT_STREQ(name, "thinwire-comm");
}

TEST(ProgressEngine, StopsTwiceAndFailsWhatIsInFlight) {
  ProgressEngine engine(make_solo);
  engine.start();
  engine.start();  // runs already
  const Ticket endless =
      engine.submit(std::make_shared<Call>([](Communicator&, std::uint64_t) { return false; }));
  EXPECT_FALSE(endless.done());
  engine.stop();
  engine.stop();
  EXPECT_EQ(expect_comm_error([&] { endless.wait(); }).kind(), CommError::Kind::kClosed);
  EXPECT_EQ(expect_comm_error([&] { engine.barrier(); }).kind(), CommError::Kind::kClosed);
  EXPECT_THROW(engine.start(), std::logic_error);
}

// A run that is stopped has fragments under way, and the peers count on them.
TEST(ProgressEngine, EndsWhatIsInFlightBeforeItStops) {
  constexpr std::size_t kValues = 3'000'000;  // many segments
  const std::shared_ptr<const quant::Codec> codec = quant::make_codec({.name = "fp32"});
  const auto makers = make_thread_world(2, 20);
  run_ranks(2, [&](int rank) {
    ProgressEngine engine(makers[rank]);
    engine.start();
    std::vector<float> mean(kValues);
    const std::vector<float> values(kValues, 1.0f + static_cast<float>(rank));
    const auto operation =
        CodedMean::make({.step = 1, .seed = 1}, codec, mean, encode_values(codec, values, 0));
    const Ticket ticket = engine.submit(operation);
    if (rank == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    engine.stop();
    ticket.wait();
    EXPECT_EQ(mean.front(), 1.5f);
    EXPECT_EQ(mean.back(), 1.5f);
  });
}

TEST(ProgressEngine, StopsInItsDestructorAndBeforeItStarted) {
  Ticket ticket;
  {
    ProgressEngine engine(make_solo);
    engine.start();
    ticket = engine.submit(std::make_shared<Call>([](Communicator&, std::uint64_t) { return false; }));
  }
  EXPECT_TRUE(ticket.done());
  ProgressEngine never_started(make_solo);
  never_started.stop();
  EXPECT_THROW(never_started.barrier(), CommError);
}

TEST(ProgressEngine, TellsItsPeersWhenAnExceptionEndsIt) {
  const auto makers = make_thread_world(2, 60);
  const auto start = Clock::now();
  run_ranks(2, [&](int rank) {
    const auto work = [&] {
      ProgressEngine engine(makers[rank]);
      engine.start();
      if (rank == 1) throw std::runtime_error("no data");
      engine.barrier();
    };
    try {
      work();
      FAIL() << "rank " << rank << " ended well";
    } catch (const CommError& error) {
      EXPECT_EQ(rank, 0);
      EXPECT_EQ(error.kind(), CommError::Kind::kPeerLost);
      EXPECT_NE(std::string(error.what()).find("it failed; its own message says why"), std::string::npos)
          << error.what();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "no data");
    }
  });
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(30));
}

TEST(ProgressEngine, ReportsFromStartThatNoCommunicatorCouldBeMade) {
  ProgressEngine engine([]() -> std::unique_ptr<Communicator> { throw std::runtime_error("no network"); });
  EXPECT_THROW(engine.start(), std::runtime_error);
  engine.stop();
}

TEST(ProgressEngine, RefusesADefaultTicketAndAnEmptyOperation) {
  EXPECT_THROW(Ticket().wait(), std::logic_error);
  EXPECT_THROW((void)Ticket().done(), std::logic_error);
  ProgressEngine engine(make_solo);
  engine.start();
  EXPECT_THROW(engine.submit(nullptr), std::invalid_argument);
}

// Measured as the thread's own CPU time, so that a busy machine does not matter.
TEST(ProgressEngine, UsesAlmostNoProcessorWhileNothingIsInFlight) {
  ProgressEngine engine(make_solo);
  engine.start();
  clockid_t clock{};
  engine
      .submit(std::make_shared<Call>(
          [&](Communicator&, std::uint64_t) { return pthread_getcpuclockid(pthread_self(), &clock) == 0; }))
      .wait();
  const double before = thread_seconds(clock);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_LT(thread_seconds(clock) - before, 0.02) << "an idle engine blocks";
}

TEST(ProgressEngine, SleepsWhileItWaitsForALatePeer) {
  ProgressEngine engine(make_solo);
  engine.start();
  clockid_t clock{};
  std::atomic<bool> ready = false;
  const Ticket late = engine.submit(std::make_shared<Call>([&](Communicator&, std::uint64_t) {
    pthread_getcpuclockid(pthread_self(), &clock);
    return ready.load();
  }));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ready = true;
  late.wait();
  EXPECT_LT(thread_seconds(clock), 0.3) << "a wait of a second does not spin for a second";
}

// Waits for what never comes, and counts how often it is looked at.
class Standing final : public Operation {
 public:
  bool advance(Communicator&, std::uint64_t) override {
    ++looks;
    return false;
  }
  bool is_standing() const override { return true; }

  std::atomic<int> looks = 0;
};

TEST(ProgressEngine, LooksAtAStandingOperationNowAndThenAndDoesNotWaitForItAtTheEnd) {
  ProgressEngine engine(make_solo);
  engine.start();
  const auto standing = std::make_shared<Standing>();
  const Ticket ticket = engine.submit(standing);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_GT(standing->looks, 2);
  EXPECT_LE(standing->looks, 26) << "every 20 ms";
  engine.barrier();  // others are not held up
  const auto before = Clock::now();
  engine.stop();
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(2)) << "an operation that moves gets 3 s";
  EXPECT_THROW(ticket.wait(), CommError);
}

TEST(ProgressEngine, PeersHearWhyARankHasFailed) {
  const auto makers = make_thread_world(2, 60);
  run_ranks(2, [&](int rank) {
    ProgressEngine engine(makers[rank]);
    engine.start();
    engine.barrier();
    if (rank == 1) {
      engine.fail("the loss is NaN");
      engine.stop();
      return;
    }
    const CommError error = expect_comm_error([&] { engine.barrier(); });
    EXPECT_NE(std::string(error.what()).find("rank 1 left: the loss is NaN"), std::string::npos)
        << error.what();
  });
}

}  // namespace
}  // namespace thinwire::comm
