#include "trainer/stop_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <mutex>

#include "tests/comm/world.h"

namespace thinwire::trainer {
namespace {

constexpr std::int64_t kNever = 1 << 20;

// The step after which each worker ended; workers take `pause` for a step, rank 1 more.
struct Ends {
  std::vector<std::int64_t> steps;
  std::vector<int> signals;
};

// Every worker takes steps until it is told to end, or `last`. `asked[rank]` is its signal.
Ends run_until_stopped(int workers, std::vector<std::atomic<int>>& asked, std::int64_t last,
                       const std::function<void(int rank, std::int64_t step)>& step_body) {
  Ends ends{std::vector<std::int64_t>(workers, 0), std::vector<int>(workers, 0)};
  comm::run_engines(workers, [&](comm::ProgressEngine& engine) {
    const int rank = engine.rank();
    StopWatch stop(engine, &asked[rank], 1);
    for (std::int64_t step = 1; step <= last; ++step) {
      step_body(rank, step);
      ends.steps[rank] = step;
      if (step == last) {
        stop.close(last);
      } else if (stop.ends_after(step)) {
        ends.signals[rank] = stop.signal();
        break;
      }
    }
  });
  return ends;
}

TEST(StopWatch, OneWorkersSignalStopsAllAtTheSameStepWithinTwo) {
  for (const int workers : {1, 2, 3}) {
    std::vector<std::atomic<int>> asked(3);
    std::atomic<std::int64_t> farthest = 0;  // when the signal came
    std::atomic<std::int64_t> reached = 0;
    const Ends ends = run_until_stopped(workers, asked, kNever, [&](int rank, std::int64_t step) {
      reached = std::max(reached.load(), step);
      if (rank == workers - 1 && step == 20) {
        farthest = reached.load();
        asked[rank] = SIGTERM;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(30));  // longer than between two looks
    });
    for (int w = 0; w < workers; ++w) {
      EXPECT_EQ(ends.steps[w], ends.steps[0]);
      EXPECT_EQ(ends.signals[w], SIGTERM);
    }
    EXPECT_LE(ends.steps[0], farthest + 2) << workers << " workers";
  }
}

TEST(StopWatch, WorkersThatAreApartEndAfterTheStepOfTheFarthest) {
  std::vector<std::atomic<int>> asked(2);
  const Ends ends = run_until_stopped(2, asked, kNever, [&](int rank, std::int64_t step) {
    std::this_thread::sleep_for(std::chrono::milliseconds(rank == 0 ? 2 : 10));
    if (rank == 1 && step == 5) asked[1] = SIGINT;
  });
  EXPECT_EQ(ends.steps[0], ends.steps[1]);
  EXPECT_GT(ends.steps[0], 7) << "worker 0 was ahead when worker 1 heard the signal";
  EXPECT_EQ(ends.signals[0], SIGINT);
}

TEST(StopWatch, ASignalAfterTheLastStepIsTooLate) {
  std::vector<std::atomic<int>> asked(2);
  const Ends ends = run_until_stopped(2, asked, 5, [&](int rank, std::int64_t step) {
    if (rank == 0 && step == 5) asked[0] = SIGTERM;
  });
  EXPECT_EQ(ends.steps, (std::vector<std::int64_t>{5, 5}));
  EXPECT_EQ(ends.signals, (std::vector<int>{0, 0}));
}

TEST(StopWatch, WithoutASignalNothingIsSentBeforeTheEnd) {
  comm::run_engines(2, [](comm::ProgressEngine& engine) {
    StopWatch stop(engine, nullptr, 1);
    for (std::int64_t step = 1; step < 100; ++step) ASSERT_FALSE(stop.ends_after(step));
    EXPECT_EQ(engine.sent().control, 0u);
    engine.barrier();
    stop.close(100);
  });
}

TEST(StopWatch, AWorkerThatFailsEndsTheOthersWithItsReason) {
  const auto makers = comm::make_thread_world(2, 60);
  std::string heard;
  comm::run_ranks(2, [&](int rank) {
    try {
      comm::ProgressEngine engine(makers[rank]);
      engine.start();
      engine.barrier();
      StopWatch stop(engine, nullptr, 1);
      if (rank == 1) {
        engine.fail("worker 1 at step 3: the loss is NaN");
        throw std::runtime_error("the loss is NaN");
      }
      for (std::int64_t step = 1;; ++step) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (stop.ends_after(step)) break;
      }
    } catch (const comm::CommError& error) {
      heard = error.what();
    } catch (const std::runtime_error&) {
      // rank 1
    }
  });
  EXPECT_THAT(heard, ::testing::HasSubstr("rank 1 left: worker 1 at step 3: the loss is NaN"));
}

}  // namespace
}  // namespace thinwire::trainer
