#include "launch/session.h"

#include <gmock/gmock.h>
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
    for (const char* name : {"THINWIRE_BACKEND", "THINWIRE_LINK", "THINWIRE_TIMEOUT_S",
                             "THINWIRE_COORDINATOR", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                             "PMI_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"}) {
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

// What joined_backend says, or throws.
std::string joined_by(const std::string& asked) {
  try {
    return joined_backend(asked);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

TEST_F(SessionTest, WorkersOfMpirunJoinByNcclOnlyIfAskedTo) {
  ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  EXPECT_EQ(joined_by("nccl"), "nccl");
  EXPECT_EQ(joined_by("mpi"), "mpi");
  EXPECT_EQ(joined_by("threads"), "mpi");
}

TEST_F(SessionTest, ABackendThatWasAskedForAndHasNoWorldIsAnErrorThatSaysHowToStart) {
  for (const char* asked : {"mpi", "nccl"}) {
    EXPECT_THAT(joined_by(asked), testing::HasSubstr("thinwire launch"));
    EXPECT_THAT(joined_by(asked), testing::HasSubstr("srun --mpi=pmix"));
  }
  EXPECT_THAT(joined_by("grpc"), testing::HasSubstr("--coordinator"));
  ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  EXPECT_THAT(joined_by("grpc"), testing::HasSubstr("--coordinator")) << "mpirun gives no coordinator";
  EXPECT_EQ(joined_by("pigeons"), "pigeons") << "its name is judged where it is joined";
}

TEST_F(SessionTest, ProcessesOfSlurmAreNoWorldsOfTheirOwn) {
  ::setenv("SLURM_PROCID", "1", 1);
  ::setenv("SLURM_NTASKS", "2", 1);
  EXPECT_THAT(joined_by("threads"), testing::HasSubstr("one of 2"));
  EXPECT_THAT(joined_by("mpi"), testing::HasSubstr("no MPI world"));
  EXPECT_EQ(surrounding_rank(), 1);
  ::setenv("SLURM_STEP_NUM_TASKS", "1", 1);
  EXPECT_EQ(joined_by("threads"), "") << "a step of one in a larger allocation";
  ::setenv("PMIX_RANK", "1", 1);
  EXPECT_EQ(joined_by("mpi"), "mpi") << "MPI_Init decides";
}

TEST_F(SessionTest, ProcessesOfAnotherMpiAreNoWorldsOfTheirOwn) {
  ::setenv("PMI_SIZE", "3", 1);
  ::setenv("PMI_RANK", "2", 1);
  EXPECT_THAT(joined_by("threads"), testing::HasSubstr("one of 3"));
  EXPECT_TRUE(is_one_of_several());
  EXPECT_NO_THROW(require_size("mpi", 3));
  EXPECT_NO_THROW(require_size("", 1));
  EXPECT_THROW(require_size("mpi", 1), std::invalid_argument);
}

}  // namespace
}  // namespace thinwire::launch
