#include "trainer/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/comm/world.h"
#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Checks = std::vector<CheckpointCheck>;

CheckpointCheck whole(std::int64_t step) {
  return {.step = step, .worker = 0, .whole = true, .problems = {}};
}

CheckpointCheck damaged(std::int64_t step, const std::string& file) {
  return {.step = step, .worker = 0, .whole = false, .problems = {{file, "expected 7 bytes, found 6 bytes"}}};
}

// What every worker of a world finds out from the checks of each; an error's message counts as a notice of
// step -1.
ResumePoint resume_point(const std::vector<Checks>& checks, bool start_over = false) {
  ResumePoint point;
  comm::run_engines(static_cast<int>(checks.size()), [&](comm::ProgressEngine& engine) {
    const auto rank = static_cast<std::size_t>(engine.rank());
    ResumePoint mine;
    try {
      mine = agree_on_resume(engine, "runs/a", checks[rank], start_over);
    } catch (const std::runtime_error& error) {
      mine = {-1, error.what()};
    }
    if (rank == 0) point = mine;
  });
  return point;
}

TEST(AgreeOnResume, TakesTheNewestStepThatAllHave) {
  const ResumePoint point = resume_point({{whole(10), whole(20)}, {whole(10), whole(20)}});
  EXPECT_EQ(point.step, 20);
  EXPECT_EQ(point.notice, "");
}

TEST(AgreeOnResume, SaysWhyANewerOneDoesNotCount) {
  const ResumePoint torn = resume_point({{whole(10), whole(20)}, {whole(10), damaged(20, "f/state")}});
  EXPECT_EQ(torn.step, 10);
  EXPECT_THAT(torn.notice, AllOf(HasSubstr("step 20"), HasSubstr("worker 1: f/state: expected 7 bytes")));
  const ResumePoint missing = resume_point({{whole(10)}, {whole(10), whole(30)}});
  EXPECT_EQ(missing.step, 10);
  EXPECT_THAT(missing.notice, HasSubstr("worker 0 has none"));
}

TEST(AgreeOnResume, WithoutAnyCheckpointTheRunBegins) {
  EXPECT_EQ(resume_point({{}, {}}).step, 0);
}

TEST(AgreeOnResume, CheckpointsWithoutACommonStepAreAnErrorThatListsThem) {
  for (const std::vector<Checks>& checks :
       {std::vector<Checks>{{whole(20)}, {damaged(20, "f/state")}},
        std::vector<Checks>{{whole(20)}, {whole(30)}}, std::vector<Checks>{{whole(20)}, {}},
        std::vector<Checks>{{damaged(20, "f/state")}}}) {
    const ResumePoint point = resume_point(checks);
    EXPECT_EQ(point.step, -1);
    EXPECT_THAT(point.notice, AllOf(HasSubstr("worker 0: step 20"), HasSubstr("--start-over")));
    EXPECT_EQ(resume_point(checks, /*start_over=*/true).step, 0);
  }
  EXPECT_THAT(resume_point({{whole(20)}, {damaged(20, "f/state")}}).notice,
              AllOf(HasSubstr("worker 0: step 20 whole"), HasSubstr("worker 1: step 20 damaged (f/state")));
}

TEST(AgreeOnResume, StartingOverIsNotNeededWhereAStepIsWhole) {
  EXPECT_EQ(resume_point({{whole(20)}, {whole(20)}}, /*start_over=*/true).step, 20);
}

TEST(NewestCommonStep, IsTheGreatestOfWhatAllHold) {
  const auto held = [](std::vector<std::int64_t> steps) { return nlohmann::json{{"held", steps}}; };
  EXPECT_EQ(newest_common_step({held({10, 20, 30}), held({20, 30, 40})}), 30);
  EXPECT_EQ(newest_common_step({held({10, 20}), held({10, 30})}), 10) << "not the least of the newest";
  EXPECT_EQ(newest_common_step({held({10}), held({})}), std::nullopt);
}

TEST(GatherJson, KeepsWhatJsonTextHasNot) {
  comm::run_engines(2, [](comm::ProgressEngine& engine) {
    const auto all = gather_json(engine, std::nan(""), "losses");
    for (const nlohmann::json& one : all) EXPECT_TRUE(std::isnan(one.get<double>()));
  });
}

TEST(CompareConfigs, NamesTheFirstLineThatDiffers) {
  comm::run_engines(2, [](comm::ProgressEngine& engine) {
    const std::string config = engine.rank() == 0 ? "lr = 1\nsteps = 2\n" : "lr = 1\nsteps = 3\n";
    EXPECT_THAT(test::message_of([&] { compare_configs(engine, config); }),
                AllOf(HasSubstr("`steps = 2`"), HasSubstr("worker 1 has `steps = 3`")));
  });
}

}  // namespace
}  // namespace thinwire::trainer
