#include "launch/launcher/mpirun.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thinwire::launch {
namespace {

using testing::Contains;
using testing::Not;

TEST(Mpirun, AsksForMoreWorkersThanCoresYieldingWaitsAndNoBinding) {
  const auto command = mpirun_command({.workers = 4, .hosts = "", .forwarded = {"THINWIRE_JOB"}}, false);
  const std::string text = testing::PrintToString(command);
  EXPECT_EQ(command[0], "mpirun");
  for (const char* word :
       {"4", ":OVERSUBSCRIBE", "none", "mpi_yield_when_idle", "self,vader", "THINWIRE_JOB"}) {
    EXPECT_THAT(command, Contains(word)) << text;
  }
  EXPECT_THAT(command, Not(Contains("--allow-run-as-root")));
}

TEST(Mpirun, IsToldOfRootAndOfHosts) {
  const auto command = mpirun_command({.workers = 2, .hosts = "hosts.txt", .forwarded = {}}, true);
  for (const char* word : {"--allow-run-as-root", "--hostfile", "hosts.txt", "self,tcp"}) {
    EXPECT_THAT(command, Contains(word));
  }
}

TEST(Mpirun, StaysOffSharedMemoryWhereTcpIsAskedFor) {
  const auto command = mpirun_command({.workers = 2, .hosts = "", .tcp = true, .forwarded = {}}, false);
  EXPECT_THAT(command, Contains("self,tcp"));
  EXPECT_THAT(command, Not(Contains("self,vader")));
  EXPECT_THAT(command, Not(Contains("--hostfile")));
}

TEST(Mpirun, TaggedLinesGiveRankAndText) {
  const auto tagged = parse_tagged("[1,12]<stderr>:[1,2]<stdout>:x");
  ASSERT_TRUE(tagged);
  EXPECT_EQ(tagged->rank, 12);
  EXPECT_EQ(tagged->text, "[1,2]<stdout>:x");
  for (const char* line :
       {"", "[", "text", "[1,x]<stdout>:y", "[1,2]<stdout", "]<std[,>:", "[1,2]x<stdout>:y"}) {
    EXPECT_FALSE(parse_tagged(line)) << line;
  }
}

std::optional<WorkerEnd> notice_in(const std::vector<std::string>& lines) {
  DeathNotice notice;
  for (const std::string& line : lines) notice.read(line);
  return notice.death();
}

WorkerEnd death_in(const std::vector<std::string>& lines) {
  return notice_in(lines).value_or(WorkerEnd{});
}

TEST(Mpirun, ASignalledWorkerIsNamedWithHostAndSignal) {
  const WorkerEnd death = death_in({"--------",
                                    "mpirun noticed that process rank 1 with PID 0 on node vm exited on "
                                    "signal 9 (Killed)."});
  EXPECT_EQ(death.rank, 1);
  EXPECT_EQ(death.host, "vm");
  EXPECT_EQ(death.signal, 9);
}

TEST(Mpirun, AWorkerThatExitedIsNamedWithItsCode) {
  const WorkerEnd death =
      death_in({"mpirun detected that one or more processes exited with non-zero status, thus causing",
                "the job to be terminated. The first process to do so was:", "",
                "  Process name: [[7525,1],3]", "  Exit code:    2"});
  EXPECT_EQ(death.rank, 3);
  EXPECT_EQ(death.exit_code, 2);
  EXPECT_EQ(death.signal, 0);
}

TEST(Mpirun, TheFirstDeathCountsAndOtherTextIsNone) {
  EXPECT_FALSE(notice_in({"Exit code: 3", "a line"}));
  EXPECT_EQ(death_in({"process rank 2 with PID 7 on node a exited on signal 11 (x)",
                      "process rank 1 with PID 8 on node b exited on signal 9 (y)"})
                .rank,
            2);
}

TEST(Mpirun, ItsOwnWordsStandIndentedBelowOurs) {
  const std::string text = failure_of_mpirun(
      "ended with exit code 1",
      {"------", "", "There are not enough slots available", "[vm:12] [[1,0],0] ORTE_ERROR_LOG"});
  EXPECT_EQ(
      text,
      "mpirun did not bring the workers up or lost them, and ended with exit code 1; the hosts file has "
      "fewer "
      "slots than workers were asked for\nmpirun said:\n  There are not enough slots available\n  [vm:12] "
      "[[1,0],0] ORTE_ERROR_LOG");
  EXPECT_THAT(failure_of_mpirun("x", {"ssh: connect to host paris port 22"}),
              testing::HasSubstr("ssh HOST true"));
  EXPECT_THAT(failure_of_mpirun("x", std::vector<std::string>(99, "line")),
              testing::HasSubstr("69 lines more"));
}

TEST(Mpirun, LinesOfItsLibraryAreKnown) {
  EXPECT_TRUE(is_of_open_mpi("[vm:1234] *** An error occurred in MPI_Init"));
  for (const char* line : {"", "text", "[1] text", "[a b:1] x", "[W12 file.cpp:3] Warning: x"})
    EXPECT_FALSE(is_of_open_mpi(line)) << line;
}

}  // namespace
}  // namespace thinwire::launch
