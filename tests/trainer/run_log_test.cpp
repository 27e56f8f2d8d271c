#include "trainer/run_log.h"

#include <gtest/gtest.h>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;

// The bytes of all event files, one after the other.
std::string events_of(const std::string& run) {
  std::string bytes;
  for (const auto& entry : fs::directory_iterator(run + "/tensorboard")) bytes += read_bytes(entry.path());
  return bytes;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(RunLog, ALineThatWasLostAndIsWrittenAgainIsNoSecondPointInTensorBoard) {
  TemporaryFolder run;
  nlohmann::json saved;
  {
    RunLog log(run.path(), /*writes=*/true, /*tensorboard=*/true, /*keep_through=*/-1);
    log.metrics({{"step", 10}, {"loss", 2.0}});
    saved = log.sync();
    log.metrics({{"step", 10}, {"eval_loss", 1.5}});
  }
  std::string lines = read_bytes(run / "metrics.jsonl");
  for (const std::size_t place : {lines.size() - 1, lines.size() / 4}) {  // the second line, then the first
    std::string damaged = lines;
    damaged[place] ^= 1;
    write_bytes(run / "metrics.jsonl", damaged);
    {
      RunLog log(run.path(), true, true, /*keep_through=*/10, saved);
      EXPECT_EQ(log.lost().empty(), place + 1 == lines.size());
      log.metrics({{"step", 10}, {"eval_loss", 1.5}});
    }
    EXPECT_EQ(count_of(read_bytes(run / "metrics.jsonl"), "eval_loss"), 1u);
    EXPECT_EQ(count_of(events_of(run.path()), "eval_loss"), 1u);
  }
}

TEST(RunLog, WhatTheLastProcessDidNotWriteIsAPointInTensorBoard) {
  TemporaryFolder run;
  nlohmann::json saved;
  {
    RunLog log(run.path(), true, true, /*keep_through=*/-1);
    log.metrics({{"step", 10}, {"loss", 2.0}});
    saved = log.sync();
  }
  RunLog(run.path(), true, true, /*keep_through=*/10, saved).metrics({{"step", 10}, {"eval_loss", 1.5}});
  EXPECT_EQ(count_of(events_of(run.path()), "eval_loss"), 1u);
}

}  // namespace
}  // namespace thinwire::trainer
