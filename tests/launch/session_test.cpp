#include "launch/session.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "launch/world.h"

namespace thinwire::launch {
namespace {

// Sets variables for one test and takes them back.
class SessionTest : public testing::Test {
 protected:
  void SetUp() override { TearDown(); }
  void TearDown() override {
    for (const char* name :
         {"THINWIRE_BACKEND", "THINWIRE_LINK", "THINWIRE_TIMEOUT_S", "OMPI_COMM_WORLD_SIZE"}) {
      ::unsetenv(name);
    }
  }
};

TEST_F(SessionTest, WithoutALauncherIsAWorldOfOne) {
  Session session = Session::from_environment();
  EXPECT_EQ(session.rank(), 0);
  EXPECT_EQ(session.size(), 1);
  session.engine().barrier();
}

TEST_F(SessionTest, ATimeoutThatIsNoNumberIsRefused) {
  for (const char* text : {"soon", "0", "-3", "5s", "nan"}) {
    ::setenv("THINWIRE_TIMEOUT_S", text, 1);
    try {
      Session::from_environment();
      FAIL() << text;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(error.what(),
                "THINWIRE_TIMEOUT_S: expected a number above 0, found \"" + std::string(text) + "\"");
    }
  }
}

TEST_F(SessionTest, ALinkOrBackendThatIsUnknownIsRefused) {
  ::setenv("THINWIRE_LINK", "fast", 1);
  EXPECT_THROW(Session::from_environment(), std::invalid_argument);
  ::unsetenv("THINWIRE_LINK");
  ::setenv("THINWIRE_BACKEND", "pigeons", 1);
  EXPECT_THROW(Session::from_environment(), std::invalid_argument);
}

TEST_F(SessionTest, WorkersOfMpirunJoinByNcclOnlyIfAskedTo) {
  EXPECT_EQ(joined_backend("nccl"), "");
  ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  EXPECT_EQ(joined_backend("nccl"), "nccl");
  EXPECT_EQ(joined_backend("threads"), "mpi");
}

}  // namespace
}  // namespace thinwire::launch
