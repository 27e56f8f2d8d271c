#include "launch/command/plan_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/errors.h"

namespace thinwire::launch {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

trainer::RunPlan some_plan() {
  trainer::RunPlan plan;
  plan.parameters = 1000;
  plan.trainable = 900;
  plan.tokens = 12345;
  plan.commits = 67;
  plan.wire_bytes = 1234567;
  plan.peak_bytes = 4 * kGiB;
  plan.held_bytes = 2 * kGiB;
  plan.gradient_bytes = kGiB;
  return plan;
}

std::string refusal(const PlanPlace& place) {
  try {
    require_memory(some_plan(), place);
    return "";
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(PlanReport, HasEveryFigure) {
  const std::string text = plan_text(some_plan(), {.workers = 2, .workers_here = 2, .available = 8 * kGiB});
  for (const char* part :
       {"llama, 4 layers, width 128", "1000, 900 of them trainable", "about 4.29GB a worker",
        "8.74GB on this machine, which has 8.59GB", "12345 of 2 workers", "67", "1.23MB, 1234567 bytes"})
    EXPECT_THAT(text, HasSubstr(part));
  const nlohmann::json json = plan_json(some_plan(), {.workers = 2, .workers_here = 0});
  EXPECT_EQ(json.at("trainable_parameters"), 900);
  EXPECT_EQ(json.at("wire_bytes_per_worker"), 1234567);
  EXPECT_TRUE(json.at("memory_bytes").is_null());
}

TEST(PlanReport, RefusesWhatCannotFitWithTheFigures) {
  const std::string message = refusal({.workers = 100, .workers_here = 100, .available = 8 * kGiB});
  EXPECT_THAT(message,
              HasSubstr("100 workers on this machine need at least 216GB of memory (2.15GB each), and "
                        "8.59GB are free; start at most 3 workers here, or take a smaller model.width"));
  EXPECT_THAT(
      refusal({.workers = 1, .workers_here = 1, .available = kGiB}),
      HasSubstr("1 worker on this machine needs at least 3.22GB of memory (2.15GB each), and 1.07GB are "
                "free; take a smaller model.width"));
}

TEST(PlanReport, RefusesNothingThatMayFit) {
  EXPECT_EQ(refusal({.workers = 3, .workers_here = 3, .available = 7 * kGiB}), "");
  EXPECT_NE(refusal({.workers = 3, .workers_here = 3, .available = 7 * kGiB - 1}), "");
  EXPECT_NE(refusal({.workers = 3, .workers_here = 3, .own_processes = true, .available = 7 * kGiB}), "");
  EXPECT_EQ(refusal({.workers = 100, .workers_here = 0, .available = kGiB}), "") << "of other hosts";
  EXPECT_EQ(refusal({.workers = 100, .workers_here = 100}), "") << "unknown";
}

}  // namespace
}  // namespace thinwire::launch
