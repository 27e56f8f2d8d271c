#include "launch/launcher/worker_reports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <vector>

namespace thinwire::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Reports with what their watcher was told.
class WorkerReportsTest : public testing::Test {
 protected:
  std::vector<std::string> messages_;
  int num_progress_ = 0;
  const Watch watch_{.on_progress = [this](const trainer::Progress&) { ++num_progress_; },
                     .on_message = [this](const std::string& text) { messages_.push_back(text); }};
  WorkerReports reports_{watch_};
};

TEST_F(WorkerReportsTest, TheFirstErrorIsTheJobsAndLaterOnesAreShown) {
  reports_.read(Stream::kOut, 1, hello_line());
  reports_.read(Stream::kOut, 1, error_line("no text", 2, true));
  reports_.read(Stream::kOut, 0, error_line("rank 1 left", 1, false));
  ASSERT_TRUE(reports_.error());
  EXPECT_THAT(reports_.error()->what(), HasSubstr("worker 1 on host " + reports_.host_of(1) + ": no text"));
  EXPECT_EQ(reports_.error()->exit_code(), 2);
  ASSERT_EQ(messages_.size(), 1u);
  EXPECT_THAT(messages_[0], HasSubstr("rank 1 left"));
}

TEST_F(WorkerReportsTest, TheCauseIsTheJobsErrorThoughItsVictimsSpeakFirst) {
  reports_.read(Stream::kOut, 0, error_line("rank 1 left", 1, false));
  reports_.read(Stream::kOut, 1, error_line("no text", 2, true));
  reports_.read(Stream::kOut, 2, error_line("no text either", 2, true));
  EXPECT_THAT(reports_.error()->what(), HasSubstr("worker 1"));
  EXPECT_EQ(reports_.error()->exit_code(), 2);
  EXPECT_THAT(messages_, ElementsAre(HasSubstr("rank 1 left"), HasSubstr("no text either")));
}

TEST_F(WorkerReportsTest, NoticesAreShownAndSignalsOfWorkersKept) {
  reports_.read(Stream::kOut, 0, notice_line("reading the text"));
  reports_.read(Stream::kOut, 1, notice_line("reading the text"));
  EXPECT_THAT(messages_, ElementsAre("reading the text", "worker 1: reading the text"));
  EXPECT_FALSE(reports_.begun());
  reports_.read(Stream::kOut, 0, begun_line(0));
  EXPECT_TRUE(reports_.begun());
  EXPECT_EQ(reports_.stopping(), 0);
  reports_.read(Stream::kOut, 1, stopping_line(15));
  reports_.read(Stream::kOut, 0, stopping_line(1));
  EXPECT_EQ(reports_.stopping(), 15);
}

TEST_F(WorkerReportsTest, TheResultCarriesTheSignalThatTheLauncherHeardFirst) {
  reports_.read(
      Stream::kOut, 0,
      end_line({.end = trainer::RunEnd::kStopped, .step = 7, .stop_signal = SIGUSR1, .summary = {}}));
  EXPECT_TRUE(reports_.was_stopped());
  StopRequest request;
  EXPECT_EQ(result_of(request, reports_).stop_signal, SIGUSR1);
  request.look({.own = SIGINT});
  EXPECT_EQ(result_of(request, reports_).stop_signal, SIGINT);
}

TEST_F(WorkerReportsTest, ProgressAndWarningsArePassedOnAndForeignLinesShown) {
  reports_.read(Stream::kOut, 0, progress_line({.step = 1}));
  reports_.read(Stream::kOut, 2, warning_line("disk full"));
  reports_.read(Stream::kOut, 0, "a library's words");
  reports_.read(Stream::kError, 1, error_line("not an error here", 1, true));
  EXPECT_EQ(num_progress_, 1);
  EXPECT_THAT(messages_, ElementsAre("worker 2: warning: disk full", "worker 0: a library's words",
                                     HasSubstr("worker 1: {")));
  EXPECT_FALSE(reports_.error());
}

TEST_F(WorkerReportsTest, KeepsTheResult) {
  EXPECT_THROW(reports_.result(), JobFailed);
  reports_.read(Stream::kOut, 0,
                end_line({.end = trainer::RunEnd::kStopped, .step = 7, .stop_signal = 0, .summary = {}}));
  EXPECT_EQ(reports_.result().step, 7);
}

TEST(WorkerEnd, IsDescribedBySignalOrExitCode) {
  EXPECT_EQ(describe({.rank = 1, .host = "tokyo", .signal = 9}),
            "worker 1 on host tokyo was killed by signal 9 (Killed)");
  EXPECT_EQ(describe({.rank = 0, .host = "", .exit_code = 3}), "worker 0 ended with exit code 3");
}

}  // namespace
}  // namespace thinwire::launch
