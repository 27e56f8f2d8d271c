// The communicator suite over gRPC, and what this backend promises beyond it.
#include <gtest/gtest.h>

#include "comm/control.h"
#include "tests/comm/communicator_suite.h"
#include "tests/comm/grpc/grpc_world.h"

namespace thinwire::comm {
namespace {

SuiteWorld grpc_world(int size, const std::string& link = "unlimited") {
  return {.name = "grpc, " + link, .size = size, .run = [=](double timeout_s, const auto& body) {
            run_grpc_world(size, timeout_s, link, body);
          }};
}

INSTANTIATE_TEST_SUITE_P(Grpc, CommunicatorSuite,
                         testing::Values(grpc_world(1), grpc_world(2), grpc_world(3), grpc_world(4),
                                         grpc_world(8), grpc_world(3, "1gbit/2ms")));
INSTANTIATE_TEST_SUITE_P(Grpc, CommunicatorFaults,
                         testing::Values(grpc_world(2), grpc_world(3), grpc_world(4), grpc_world(8),
                                         grpc_world(3, "1gbit/2ms")));

std::unique_ptr<Work> send_all(Communicator& communicator, std::uint64_t sequence, const Buffer& mine,
                               Traffic traffic = Traffic::kWire) {
  ExchangeRequest request{
      .sequence = sequence, .max_bytes = std::size_t{1} << 28, .traffic = traffic, .what = "test"};
  request.outgoing.assign(communicator.size(), mine);
  return communicator.exchange(std::move(request));
}

// Rank 1 asks for the data only after the control messages have passed.
TEST(GrpcTransport, ControlMessagesPassDataThatNobodyTakes) {
  run_grpc_world(2, 60, "unlimited", [](Communicator& communicator) {
    const Buffer data(40'000'000);
    std::unique_ptr<Work> work;
    if (communicator.rank() == 0) work = send_all(communicator, 1, data);
    for (std::uint64_t sequence = 2; sequence < 20; ++sequence) barrier(communicator, sequence);
    const Buffer metrics(20'000);
    const auto large = send_all(communicator, 20, metrics, Traffic::kControl);
    wait(communicator, *large);
    if (communicator.rank() == 1) work = send_all(communicator, 1, data);
    wait(communicator, *work);
  });
}

// Messages of every kind wait for their exchange, more of them than one stream or window would hold.
TEST(GrpcTransport, HoldsManyMessagesThatNobodyAskedForYet) {
  run_grpc_world(2, 60, "unlimited", [](Communicator& communicator) {
    constexpr std::uint64_t kCount = 100;
    const Buffer mine = pattern(100'000, communicator.rank(), 0, 0);
    std::vector<std::unique_ptr<Work>> works;
    if (communicator.rank() == 0) {
      for (std::uint64_t i = 0; i < kCount; ++i) works.push_back(send_all(communicator, i, mine));
    }
    barrier(communicator, 1000);
    if (communicator.rank() == 1) {
      for (std::uint64_t i = kCount; i-- > 0;) works.push_back(send_all(communicator, i, mine));
    }
    for (const auto& work : works) {
      EXPECT_TRUE(wait(communicator, *work)[0] == pattern(100'000, 0, 0, 0));
    }
  });
}

TEST(GrpcTransport, GivesTheRankThatWasAskedForAndTheOthersByName) {
  Coordinator coordinator({.workers = 3, .join_timeout_s = 60});
  const std::vector<std::string> names = {"tokyo", "paris", "oslo"};
  run_ranks(3, [&](int worker) {
    BackendOptions options = grpc_options(coordinator.address(), 60);
    options.grpc.name = names[worker];
    if (names[worker] == "tokyo") options.grpc.rank = 0;
    const auto communicator = connect(options);
    const std::vector<std::string> by_rank = {"tokyo", "oslo", "paris"};
    EXPECT_EQ(by_rank[communicator->rank()], names[worker]);
    barrier(*communicator, 1);
  });
  EXPECT_EQ(coordinator.wait().end, Coordinator::End::kFinished);
}

TEST(GrpcTransport, RunsUnderTheProgressEngine) {
  Coordinator coordinator({.workers = 3, .join_timeout_s = 60});
  run_ranks(3, [&](int rank) {
    BackendOptions options = grpc_options(coordinator.address(), 60);
    options.grpc.rank = rank;
    ProgressEngine engine([&] { return connect(options); });
    engine.start();
    const auto all = engine.gather(bytes_of("worker " + std::to_string(engine.rank())), 64, "names");
    for (int r = 0; r < engine.size(); ++r) EXPECT_EQ(text_of(all[r]), "worker " + std::to_string(r));
    engine.barrier();
    engine.stop();
  });
}

}  // namespace
}  // namespace thinwire::comm
