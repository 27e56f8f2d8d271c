#include "trainer/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "tests/comm/world.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/data/tokenizer.h"

namespace thinwire::trainer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Checks = std::vector<CheckpointCheck>;

CheckpointCheck whole(std::int64_t step) {
  return {.step = step, .worker = 0, .whole = true, .problems = {}};
}

CheckpointCheck noted(std::int64_t step) {
  return {.step = step, .worker = 0, .whole = true, .problems = {}, .on_all_workers = true};
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
        std::vector<Checks>{{whole(20)}, {whole(30)}}, std::vector<Checks>{{noted(20)}, {}},
        std::vector<Checks>{{whole(20), whole(30)}, {}}, std::vector<Checks>{{damaged(20, "f/state")}}}) {
    const ResumePoint point = resume_point(checks);
    EXPECT_EQ(point.step, -1);
    EXPECT_THAT(point.notice, AllOf(HasSubstr("worker 0: step 20"), HasSubstr("--start-over")));
    EXPECT_EQ(resume_point(checks, /*start_over=*/true).step, 0);
  }
  EXPECT_THAT(resume_point({{whole(20)}, {damaged(20, "f/state")}}).notice,
              AllOf(HasSubstr("worker 0: step 20 whole"), HasSubstr("worker 1: step 20 damaged (f/state")));
}

TEST(AgreeOnResume, ARunThatEndedAmidItsFirstCheckpointBeginsAndSaysSo) {
  const ResumePoint point = resume_point({{whole(20)}, {}});
  EXPECT_EQ(point.step, 0);
  EXPECT_THAT(point.notice, HasSubstr("the first checkpoint, of step 20, was not finished on all workers"));
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

// What workers find out about their sources, each of which is (bytes, hash); an empty hash: not read here.
std::vector<std::string> compared(
    const std::vector<std::vector<std::pair<std::uint64_t, std::string>>>& texts) {
  const test::TemporaryFolder folder;
  test::write_bytes(folder / "any", "text");
  const auto opened = std::make_shared<const SourceText>(folder / "any");
  std::vector<std::string> found(texts.size());
  comm::run_engines(static_cast<int>(texts.size()), [&](comm::ProgressEngine& engine) {
    const auto rank = static_cast<std::size_t>(engine.rank());
    std::vector<Source> sources;
    for (const auto& [bytes, hash] : texts[rank]) {
      const std::string path = "host" + std::to_string(rank) + "/" + std::to_string(sources.size());
      sources.push_back({path, hash.empty() ? nullptr : opened, bytes, hash});
    }
    try {
      compare_texts(engine, sources);
      for (const Source& source : sources) found[rank] += std::to_string(source.bytes) + source.hash + " ";
    } catch (const std::runtime_error& error) {
      found[rank] = error.what();
    }
  });
  return found;
}

TEST(CompareTexts, FillsInWhatOnlyOthersRead) {
  for (const std::string& found : compared({{{5, "aa"}, {0, ""}, {7, "cc"}}, {{0, ""}, {6, "bb"}, {0, ""}}}))
    EXPECT_EQ(found, "5aa 6bb 7cc ");
}

TEST(CompareTexts, NamesTheFirstTextThatDiffers) {
  for (const std::string& found :
       compared({{{5, "aa"}, {6, "bb"}}, {{5, "aa"}, {6, "bb"}}, {{5, "aa"}, {6, "xx"}}}))
    EXPECT_THAT(found,
                AllOf(HasSubstr("different text"), HasSubstr("worker 0 has 'host0/1' of 6 bytes (digest bb)"),
                      HasSubstr("worker 2 has 'host2/1' of 6 bytes (digest xx)")));
  for (const std::string& found : compared({{{5, "aa"}, {6, "bb"}}, {{5, "aa"}}}))
    EXPECT_THAT(found, HasSubstr("2 entries on worker 0 and 1 on worker 1"));
}

TEST(GatherTallies, GivesEveryWorkersNumbersBitByBit) {
  comm::run_engines(3, [&](comm::ProgressEngine& engine) {
    const auto rank = static_cast<std::uint64_t>(engine.rank());
    Tally mine{.groups = std::vector<std::size_t>(rank, 1),
               .sums = std::vector<double>(rank, 1.0 / 3),
               .targets = engine.rank(),
               .tokens = rank << 40,
               .bytes = rank};
    if (rank == 2) mine.sums[1] = std::nan("");
    const std::vector<Tally> all = gather_tallies(engine, mine);
    ASSERT_EQ(all.size(), 3u);
    EXPECT_TRUE(all[0].sums.empty());
    EXPECT_EQ(all[1].sums, std::vector<double>{1.0 / 3});
    EXPECT_EQ(all[2].groups.size(), 2u);
    EXPECT_TRUE(std::isnan(all[2].sums[1]));
    EXPECT_EQ(all[2].tokens, std::uint64_t{2} << 40);
    EXPECT_EQ(all[2].targets, 2);
  });
}

TEST(WhileAllWait, NoDeadlinePassesForWorkersThatAreDone) {
  constexpr double kTimeout = 1;
  comm::run_engines(
      2,
      [&](comm::ProgressEngine& engine) {
        bool done = false;
        while_all_wait(engine, kTimeout, [&](std::stop_token) {
          if (engine.rank() == 1) std::this_thread::sleep_for(std::chrono::duration<double>(1.8 * kTimeout));
          done = true;
        });
        EXPECT_TRUE(done);
      },
      kTimeout);
}

TEST(WhileAllWait, AnErrorOfTheJobIsThrown) {
  comm::run_engines(1, [&](comm::ProgressEngine& engine) {
    EXPECT_THAT(test::message_of([&] {
                  while_all_wait(engine, 1, [](std::stop_token) { throw std::runtime_error("no text"); });
                }),
                HasSubstr("no text"));
  });
}

TEST(RequireRoomFor, NamesBothNumbers) {
  const auto tokenizer = make_tokenizer(DataOptions());
  require_room_for(*tokenizer, 256);
  require_room_for(*tokenizer, 512);
  EXPECT_THAT(test::message_of([&] { require_room_for(*tokenizer, 100); }),
              AllOf(HasSubstr("model.vocab"), HasSubstr("256"), HasSubstr("100")));
}

}  // namespace
}  // namespace thinwire::trainer
