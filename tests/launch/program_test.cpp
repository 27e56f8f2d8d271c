#include "launch/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "comm/backend/backend.h"
#include "launch/command/command.h"
#include "launch/command/run_job.h"
#include "launch/config/config.h"
#include "trainer/format/manifest.h"
#include "trainer/run_folder.h"

namespace thinwire::launch {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int code = 0;
  std::string out, error;
};

Outcome run(const std::vector<std::string>& arguments) {
  Outcome outcome;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.code = run_program(arguments);
  std::fflush(nullptr);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.error = testing::internal::GetCapturedStderr();
  return outcome;
}

// A folder for one test, with a config in it.
class Program : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/program_test_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(run_dir());
    options_.run.dir = run_dir();
    options_.data.path = {folder_ + "/missing.txt"};
    write(config(), to_toml(options_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  std::string run_dir() const { return folder_ + "/run"; }
  std::string config() const { return folder_ + "/job.toml"; }

  std::string folder_;
  trainer::Options options_;
};

TEST_F(Program, HelpIsASuccessAndShowsAnExampleForEveryCommand) {
  EXPECT_EQ(run({"--help"}).code, kSuccess);
  for (const Command& command : commands()) {
    const Outcome outcome = run({std::string(command.name), "--help"});
    EXPECT_EQ(outcome.code, kSuccess) << command.name;
    EXPECT_THAT(outcome.out, HasSubstr("Example:\n  thinwire " + std::string(command.name)));
    EXPECT_EQ(outcome.error, "");
  }
}

TEST_F(Program, TheReferenceOfTheConfigIsPrinted) {
  EXPECT_EQ(run({"--config-reference"}).out, config_reference());
}

TEST_F(Program, UsageErrorsGiveTwoAndOneClearLine) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"trian"},
      {"train", "--no-such-option"},
      {"train"},
      {"train", config(), "--", "program"},
      {"launch", config()},
      {"launch", config(), "-n", "0"},
      {"launch", config(), "-n", "two"},
      {"launch", "-n", "2"},
      {"launch", config(), "-n", "2", "--", "program"},
      {"launch", "-n", "2", "--backend", "threads", "--", "program"},
      {"launch", "-n", "2", "--set", "inner.steps=3", "--", "program"},
      {"launch", config(), "-n", "2", "--hosts", "no-such-file"},
      {"launch", config(), "-n", "2", "--backend", "pigeons"},
      {"resume"},
      {"resume", folder_ + "/nothing"},
      {"verify", folder_ + "/nothing"},
  };
  for (const auto& arguments : wrong) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUsage) << testing::PrintToString(arguments);
    EXPECT_THAT(outcome.error, testing::MatchesRegex("thinwire[^\n]*: error: [^\n]*\n"));
    EXPECT_EQ(outcome.out, "");
  }
}

TEST_F(Program, ABackendThatCannotRunHereIsRefusedBeforeAnythingStarts) {
  std::string reason;
  try {
    comm::require_backend("nccl");
    GTEST_SKIP() << "this build has NCCL, and this machine a device";
  } catch (const std::invalid_argument& error) {
    reason = error.what();
  }
  for (const auto& arguments : {std::vector<std::string>{"launch", config(), "-n", "2", "--backend", "nccl"},
                                {"launch", "-n", "2", "--backend", "nccl", "--", "program"}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_EQ(outcome.error, "thinwire launch: error: " + reason + "\n");
    EXPECT_TRUE(std::filesystem::is_empty(run_dir()));
  }
}

TEST_F(Program, AConfigErrorGivesTwoAndNamesTheLine) {
  write(config(), "[run]\nsede = 3\n");
  const Outcome outcome = run({"launch", config(), "-n", "2"});
  EXPECT_EQ(outcome.code, kUsage);
  EXPECT_EQ(outcome.error,
            "thinwire launch: error: " + config() + ":2: unknown key run.sede; did you mean run.seed?\n");
}

TEST_F(Program, AFolderThatHoldsARunIsRefusedAndResumeIsNamed) {
  write(run_dir() + "/config.toml", trainer::sealed(to_toml(options_)));
  for (const auto& arguments :
       {std::vector<std::string>{"launch", config(), "-n", "2"}, {"train", config()}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_THAT(outcome.error, HasSubstr("thinwire resume " + run_dir()));
  }
}

TEST_F(Program, ResumeRefusesByNameWhatARunUnderWayCannotTake) {
  write(run_dir() + "/config.toml", trainer::sealed(to_toml(options_)));
  for (const char* change : {"inner.batch=1", "outer.codec=int2", "run.seed=9", "run.dir=elsewhere"}) {
    const Outcome outcome = run({"resume", run_dir(), "--set", change});
    const std::string key(change, std::string_view(change).find('='));
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_THAT(outcome.error,
                StartsWith("thinwire resume: error: " + key + " cannot change on resume; only "));
  }
}

TEST_F(Program, AMissingCorpusFailsTheRunByName) {
  for (const auto& arguments :
       {std::vector<std::string>{"launch", config(), "-n", "2"}, {"train", config()}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kRunFailed);
    EXPECT_THAT(outcome.error, HasSubstr(options_.data.path[0]));
    std::filesystem::remove_all(run_dir());
  }
}

TEST_F(Program, ResumeTakesTheNumberOfWorkersFromTheCheckpointsWhereLaunchJsonIsNoHelp) {
  write(run_dir() + "/config.toml", trainer::sealed(to_toml(options_)));
  const std::string record = run_dir() + "/launch.json";
  const std::string checkpoint = run_dir() + "/checkpoints/step-5/worker-0";
  std::filesystem::create_directories(checkpoint);
  write(checkpoint + "/manifest.json",
        trainer::to_text({.step = 5, .files = {}, .meta = {{"workers", 2}}, .tensors = {}}));
  for (const char* text : {"", "{", "{\"workers\": 3, \"hosts\": \"\"}"}) {
    std::filesystem::remove(record);
    if (*text != 0) write(record, text);
    const Outcome outcome = run({"resume", run_dir(), "-n", "3"});
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_THAT(outcome.error, HasSubstr("is a run of 2 workers, 3 were asked for; resume with -n 2"));
    const Outcome plain = run({"resume", run_dir()});
    EXPECT_THAT(plain.out, HasSubstr("launch.json"));
    EXPECT_THAT(plain.out, HasSubstr("resuming 2 workers"));
  }
}

TEST_F(Program, ResumeAsksForTheNumberOfWorkersWhereNothingSaysIt) {
  write(run_dir() + "/config.toml", trainer::sealed(to_toml(options_)));
  const Outcome outcome = run({"resume", run_dir()});
  EXPECT_EQ(outcome.code, kUsage);
  EXPECT_THAT(outcome.error, HasSubstr("name them with -n"));
  EXPECT_THAT(run({"resume", run_dir(), "-n", "2"}).out, HasSubstr("resuming 2 workers"));
}

TEST_F(Program, NothingIsWrittenIntoTheFolderByALaunchThatIsRefusedItsLock) {
  const trainer::RunLock lock(run_dir());
  const Outcome outcome = run({"launch", config(), "-n", "3"});
  EXPECT_NE(outcome.code, kSuccess);
  EXPECT_THAT(outcome.error, HasSubstr("in use by"));
  EXPECT_FALSE(std::filesystem::exists(run_dir() + "/launch.json"));
}

TEST_F(Program, TheFirstLineComesBeforeAnythingIsDone) {
  EXPECT_THAT(run({"launch", config(), "-n", "2"}).out,
              StartsWith("starting 2 workers (threads); run folder " + run_dir() + "\n"));
}

TEST_F(Program, ABadHostsFileIsRefusedByLine) {
  write(folder_ + "/hosts.txt", "localhost lots=2\n");
  const Outcome outcome =
      run({"launch", config(), "-n", "2", "--backend", "mpi", "--hosts", folder_ + "/hosts.txt"});
  EXPECT_EQ(outcome.code, kUsage);
  EXPECT_THAT(outcome.error, HasSubstr("hosts.txt:1: expected"));
}

TEST_F(Program, AHostsFileThatIsGoneOnResumeNamesTheWayOut) {
  write(run_dir() + "/config.toml", trainer::sealed(to_toml(options_)));
  write(run_dir() + "/launch.json", "{\"workers\": 2, \"hosts\": \"/nowhere/hosts.txt\"}");
  const Outcome outcome = run({"resume", run_dir()});
  EXPECT_EQ(outcome.code, kUsage);
  EXPECT_THAT(outcome.error, HasSubstr("/nowhere/hosts.txt"));
  EXPECT_THAT(outcome.error, HasSubstr("--hosts"));
}

TEST_F(Program, TheHintToResumeNeedsACheckpointAndAMessageWithoutOne) {
  EXPECT_EQ(with_resume_hint("it broke", run_dir()), "it broke");
  std::filesystem::create_directories(run_dir() + "/checkpoints/step-5");
  EXPECT_EQ(with_resume_hint("it broke", run_dir()),
            "it broke; to go on from the newest checkpoint: thinwire resume " + run_dir());
  const std::string knows = "it broke: thinwire resume " + run_dir() + " --start-over";
  EXPECT_EQ(with_resume_hint(knows, run_dir()), knows);
}

}  // namespace
}  // namespace thinwire::launch
