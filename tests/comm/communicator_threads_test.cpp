#include <gtest/gtest.h>

#include <barrier>

#include "comm/link.h"
#include "tests/comm/communicator_suite.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

SuiteWorld thread_world(int size, const std::string& link = "unlimited") {
  return {.name = "threads, " + link, .size = size, .run = [=](double timeout_s, const auto& body) {
            const auto makers = make_thread_world(size, timeout_s);
            std::barrier all_returned(size);
            run_ranks(size, [&](int rank) {
              const auto communicator = shape(makers[rank](), parse_link(link));
              try {
                body(*communicator);
              } catch (...) {
                all_returned.arrive_and_wait();
                throw;
              }
              all_returned.arrive_and_wait();
            });
          }};
}

INSTANTIATE_TEST_SUITE_P(Threads, CommunicatorSuite,
                         testing::Values(thread_world(1), thread_world(2), thread_world(3), thread_world(4),
                                         thread_world(8), thread_world(3, "1gbit/2ms")));
INSTANTIATE_TEST_SUITE_P(Threads, CommunicatorFaults,
                         testing::Values(thread_world(2), thread_world(3), thread_world(4), thread_world(8),
                                         thread_world(3, "1gbit/2ms")));

}  // namespace
}  // namespace thinwire::comm
