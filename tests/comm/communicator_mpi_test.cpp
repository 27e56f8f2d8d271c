// The communicator suite over MPI: this program runs as every rank of an mpirun. It initialises MPI itself,
// so that each test gets a fresh transport and MPI survives the tests that break one.
#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <iostream>
#include <span>
#include <vector>

#include "comm/backend/mpi/mpi_session.h"
#include "comm/link.h"
#include "tests/comm/communicator_suite.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

int world_size() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

SuiteWorld mpi_world(const std::string& link) {
  const auto session = std::make_shared<MpiSession>();
  return {.name = "mpi, " + link, .size = world_size(), .run = [=](double timeout_s, const auto& body) {
            auto communicator =
                std::make_unique<Communicator>(make_mpi_transport(session, timeout_s), timeout_s);
            communicator = shape(std::move(communicator), parse_link(link));
            std::exception_ptr error;
            try {
              body(*communicator);
            } catch (...) {
              error = std::current_exception();
            }
            MPI_Barrier(MPI_COMM_WORLD);
            communicator.reset();
            MPI_Barrier(MPI_COMM_WORLD);
            if (error) std::rethrow_exception(error);
          }};
}

// Called when the tests are listed, in main, after MPI_Init.
std::vector<SuiteWorld> worlds() {
  return {mpi_world("unlimited"), mpi_world("1gbit/2ms")};
}
std::vector<SuiteWorld> worlds_with_peers() {
  return world_size() > 1 ? worlds() : std::vector<SuiteWorld>();
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CommunicatorFaults);  // in a world of one
INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorSuite, testing::ValuesIn(worlds()));
INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorFaults, testing::ValuesIn(worlds_with_peers()));

TEST(MpiTransport, MovesAMessageOfSeveralParts) {
  const std::size_t num_bytes = 9'000'000;
  mpi_world("unlimited").run(60, [&](Communicator& communicator) {
    const Buffer mine = pattern(num_bytes, communicator.rank(), 0, 0);
    for (int root = 0; root < std::min(2, communicator.size()); ++root) {
      const auto sent =
          communicator.rank() == root ? std::span<const std::byte>(mine) : std::span<const std::byte>();
      EXPECT_TRUE(broadcast(communicator, root, root, sent, num_bytes) == pattern(num_bytes, root, 0, 0));
    }
  });
}

// Memory of a receive that its transport has given up, and that the peer answers later all the same.
TEST(MpiTransport, LeavesWhatIsUnderWayToMpi) {
  if (world_size() < 2) GTEST_SKIP() << "needs a peer";
  constexpr std::size_t kBytes = 5000;
  constexpr int kRounds = 8;
  const auto session = std::make_shared<MpiSession>();
  auto abandoned = make_mpi_transport(session, 60);
  const Buffer message(kBytes, std::byte{0xAB});
  if (world_rank() == 0) {
    for (int i = 0; i < kRounds; ++i) abandoned->expect(1, i, kBytes);
    abandoned->leave("it has seen enough");
    abandoned.reset();
  }
  const std::vector<Buffer> fresh(4 * kRounds, Buffer(kBytes));  // the freed memory again, if it was freed
  MPI_Barrier(MPI_COMM_WORLD);
  if (world_rank() == 1) {
    for (int i = 0; i < kRounds; ++i) {
      abandoned->send(
          {.peer = 0, .sequence = static_cast<std::uint64_t>(i), .bytes = message, .expected = true});
    }
    std::vector<TransportEvent> events;
    const auto sent = [](const TransportEvent& event) { return event.kind == TransportEvent::Kind::kSent; };
    while (std::ranges::count_if(events, sent) < kRounds) abandoned->poll(events);
  }
  mpi_world("unlimited").run(60, [](Communicator& communicator) { barrier(communicator, 1); });
  for (const Buffer& buffer : fresh) EXPECT_TRUE(buffer == Buffer(kBytes));
  if (abandoned) abandoned->leave("rank 0 has left");
}

// Sends what the peers have no memory for, and then fails.
class FailingSend final : public Operation {
 public:
  bool advance(Communicator& communicator, std::uint64_t id) override {
    const std::vector<std::span<const std::byte>> outgoing(communicator.size(), bytes_);
    work_ =
        communicator.exchange({.sequence = exchange_sequence(id, 0), .outgoing = outgoing, .what = "test"});
    throw std::runtime_error("it thinks better of it");
  }

 private:
  const Buffer bytes_ = Buffer(8'000'000);
  std::unique_ptr<Work> work_;
};

// The peers may take it from MPI when the engine is long gone.
TEST(MpiEngine, NeverFreesWhatWasBeingSentWhenItEnds) {
  if (world_size() < 2) GTEST_SKIP() << "needs a peer";
  const auto session = std::make_shared<MpiSession>();
  std::weak_ptr<Operation> sending;
  {
    ProgressEngine engine(
        [&] { return std::make_unique<Communicator>(make_mpi_transport(session, 60), 60); });
    engine.start();
    engine.barrier();
    auto operation = std::make_shared<FailingSend>();
    sending = operation;
    EXPECT_THROW(engine.submit(std::move(operation)).wait(), std::runtime_error);
  }
  EXPECT_FALSE(sending.expired());
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiEngine, GathersOnAThreadOfItsOwn) {
  const auto session = std::make_shared<MpiSession>();
  ProgressEngine engine([&] { return std::make_unique<Communicator>(make_mpi_transport(session, 60), 60); });
  engine.start();
  const auto all = engine.gather(bytes_of("worker " + std::to_string(engine.rank())), 64, "names");
  for (int r = 0; r < engine.size(); ++r) EXPECT_EQ(text_of(all[r]), "worker " + std::to_string(r));
  engine.stop();
}

// Only rank 0 tells of what went well.
class FailuresOnly final : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed()) std::cerr << "rank " << world_rank() << ": " << result.summary() << std::endl;
  }
};

}  // namespace
}  // namespace thinwire::comm

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
  testing::InitGoogleTest(&argc, argv);
  if (thinwire::comm::world_rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new thinwire::comm::FailuresOnly);
  }
  const int result = RUN_ALL_TESTS();
  MPI_Finalize();
  return result;
}
