#include "launch/launcher/stop_request.h"

#include <gtest/gtest.h>

#include <csignal>

#include "launch/launcher/launcher.h"

namespace thinwire::launch {
namespace {

TEST(StopRequest, IsAnnouncedAndPassedOnOnce) {
  StopRequest request;
  EXPECT_FALSE(request.look({}).announce);
  const auto first = request.look({.own = SIGTERM});
  EXPECT_TRUE(first.announce);
  EXPECT_TRUE(first.pass_on);
  EXPECT_FALSE(first.end_all);
  const auto then = request.look({.own = SIGTERM, .of_workers = SIGTERM});
  EXPECT_FALSE(then.announce || then.pass_on || then.end_all);
  EXPECT_EQ(request.signal(), SIGTERM);
}

TEST(StopRequest, OfWorkersAloneIsAnnouncedAndNotSentBackToThem) {
  StopRequest request;
  const auto todo = request.look({.of_workers = SIGHUP});
  EXPECT_TRUE(todo.announce);
  EXPECT_FALSE(todo.pass_on);
  EXPECT_EQ(request.signal(), SIGHUP);
  const auto late = request.look({.own = SIGINT, .of_workers = SIGHUP});
  EXPECT_TRUE(late.pass_on) << "some workers may not have got theirs";
  EXPECT_FALSE(late.announce);
  EXPECT_EQ(request.signal(), SIGHUP);
}

TEST(StopRequest, BeforeTrainingEndsAllAndStaysEarly) {
  StopRequest request;
  const auto todo = request.look({.own = SIGINT, .begun = false});
  EXPECT_TRUE(todo.end_all);
  EXPECT_FALSE(todo.pass_on || todo.announce);
  EXPECT_TRUE(request.look({.own = SIGINT, .begun = true}).end_all);
  EXPECT_TRUE(request.early());
  EXPECT_EQ(request.early_result().step, kBeforeFirstStep);
  EXPECT_EQ(request.early_result().stop_signal, SIGINT);
}

TEST(StopRequest, ASecondOneEndsAll) {
  StopRequest request;
  request.look({.own = SIGTERM});
  EXPECT_TRUE(request.look({.own = SIGTERM, .again = SIGINT}).end_all);
  EXPECT_EQ(request.again(), SIGINT);
  EXPECT_FALSE(request.early());
}

TEST(StopRequest, TheLineNamesTheSignalTheCheckpointAndTheWayToEndAtOnce) {
  EXPECT_EQ(stopping_text(SIGTERM),
            "SIGTERM: the run stops within two steps, with a checkpoint; another signal ends it at once");
}

}  // namespace
}  // namespace thinwire::launch
