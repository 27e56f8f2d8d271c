// The communicator suite over NCCL itself: ranks are threads of this process, each with a device of its own.
// Skips where the build has no NCCL or the machine fewer than two devices.
#include <gtest/gtest.h>

#include <barrier>

#include "comm/backend/nccl/nccl_backend.h"
#include "comm/backend/nccl/nccl_transport.h"
#include "comm/backend/threads/thread_transport.h"
#include "tests/comm/communicator_suite.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

std::string missing() {
  try {
    require_nccl();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return quant::cuda::num_devices() < 2 ? "this machine has one device only" : "";
}

SuiteWorld gpu_world(int size) {
  return {.name = "nccl", .size = size, .run = [=](double timeout_s, const auto& body) {
            const auto threads = std::make_shared<ThreadWorld>(size);
            std::barrier all_returned(size);
            run_ranks(size, [&](int rank) {
              std::unique_ptr<Communicator> communicator;
              std::exception_ptr error;
              try {
                // Joining takes NCCL seconds, however short the exchanges' deadline.
                communicator = std::make_unique<Communicator>(
                    make_nccl_transport(make_nccl_api(rank), make_thread_transport(threads, rank), 60),
                    timeout_s);
                body(*communicator);
              } catch (...) {
                error = std::current_exception();
              }
              all_returned.arrive_and_wait();
              communicator.reset();
              if (error) std::rethrow_exception(error);
            });
          }};
}

std::vector<SuiteWorld> gpu_worlds() {
  std::vector<SuiteWorld> worlds;
  if (!missing().empty()) return worlds;
  for (const int size : {2, 3, 4, 8}) {
    if (size <= quant::cuda::num_devices()) worlds.push_back(gpu_world(size));
  }
  return worlds;
}

INSTANTIATE_TEST_SUITE_P(Gpus, CommunicatorSuite, testing::ValuesIn(gpu_worlds()));
INSTANTIATE_TEST_SUITE_P(Gpus, CommunicatorFaults, testing::ValuesIn(gpu_worlds()));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CommunicatorSuite);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CommunicatorFaults);

TEST(NcclOnDevices, IsRunHere) {
  const std::string reason = missing();
  if (!reason.empty()) GTEST_SKIP() << "NCCL is not run here: " << reason;
}

}  // namespace
}  // namespace thinwire::comm
