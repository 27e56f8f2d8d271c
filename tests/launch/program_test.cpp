#include "launch/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "comm/backend/backend.h"
#include "launch/command/command.h"
#include "launch/command/run_job.h"
#include "launch/config/config.h"

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
  write(run_dir() + "/config.toml", to_toml(options_));
  for (const auto& arguments :
       {std::vector<std::string>{"launch", config(), "-n", "2"}, {"train", config()}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_THAT(outcome.error, HasSubstr("thinwire resume " + run_dir()));
  }
}

TEST_F(Program, ResumeRefusesByNameWhatARunUnderWayCannotTake) {
  write(run_dir() + "/config.toml", to_toml(options_));
  for (const char* change : {"inner.lr=0.1", "inner.steps=599", "outer.codec=int2", "run.seed=9",
                             "run.dir=elsewhere", "quant.rule=[{}]"}) {
    const Outcome outcome = run({"resume", run_dir(), "--set", change});
    const std::string key(change, std::string_view(change).find('='));
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_EQ(outcome.error,
              "thinwire resume: error: " + key +
                  " cannot change on resume; only [comm], [log], [checkpoint] and a larger inner.steps "
                  "can\n");
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

TEST_F(Program, TheLaunchRecordComesBackAndADamagedOneIsNamed) {
  write_launch_record(run_dir(), {.workers = 3, .hosts = "h"});
  EXPECT_EQ(read_launch_record(run_dir()).workers, 3);
  EXPECT_EQ(read_launch_record(run_dir()).hosts, "h");
  write(run_dir() + "/launch.json", "{\"workers\": ");
  try {
    read_launch_record(run_dir());
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), StartsWith(run_dir() + "/launch.json: expected"));
  }
  std::filesystem::remove(run_dir() + "/launch.json");
  EXPECT_EQ(read_launch_record(run_dir()).workers, 1);
}

TEST_F(Program, TheHintToResumeNeedsACheckpoint) {
  EXPECT_EQ(resume_hint(run_dir()), "");
  std::filesystem::create_directories(run_dir() + "/checkpoints/step-5");
  EXPECT_THAT(resume_hint(run_dir()), HasSubstr("thinwire resume " + run_dir()));
}

}  // namespace
}  // namespace thinwire::launch
