#include "launch/bench/overlap_plan.h"

#include <gtest/gtest.h>

namespace thinwire::launch {
namespace {

// A fragment of one packet more than the link carries in `seconds` at 1 Mbit/s, less what its headers take.
std::uint64_t bytes_of(double seconds) {
  return static_cast<std::uint64_t>(seconds * 1e6 / 8 / 1514) * 1448;
}

comm::LinkSpec megabit(double rtt_s = 0) {
  return {.up_bits_per_s = 1e6, .down_bits_per_s = 1e6, .rtt_s = rtt_s};
}

TEST(OverlapPlan, TakesTheSmallestTauThatHoldsLinkRoundTripAndCoding) {
  OverlapLoad load{.fragment_bytes = {bytes_of(2)}, .sync_every = 30, .step_seconds = 0.25};
  EXPECT_EQ(plan_overlap(load, megabit()).tau, 8);
  EXPECT_TRUE(plan_overlap(load, megabit()).fits);
  EXPECT_EQ(plan_overlap(load, megabit(0.1)).tau, 9);
  load.coding_seconds = 0.3;
  EXPECT_EQ(plan_overlap(load, megabit(0.1)).tau, 10);
}

TEST(OverlapPlan, IsLimitedByTheSlowerDirection) {
  const OverlapLoad load{.fragment_bytes = {bytes_of(2)}, .sync_every = 30, .step_seconds = 0.25};
  EXPECT_EQ(plan_overlap(load, {.up_bits_per_s = 1e9, .down_bits_per_s = 1e6}).tau, 8);
  EXPECT_EQ(plan_overlap(load, {}).tau, 1) << "without a link a fragment takes a step at least";
}

// Sends at steps 0 and 5 of 10; each is 7 steps on the link, so the second waits for two.
TEST(OverlapPlan, LetsAFragmentWaitBehindTheOneBefore) {
  OverlapLoad load{.fragment_bytes = {bytes_of(7), bytes_of(2)}, .sync_every = 10, .step_seconds = 1};
  EXPECT_EQ(plan_overlap(load, megabit()).tau, 7);
  load.fragment_bytes[1] = load.fragment_bytes[0];
  EXPECT_FALSE(plan_overlap(load, megabit()).fits) << "14 steps of traffic in a period of 10";
  EXPECT_EQ(plan_overlap(load, megabit()).tau, 10);
}

TEST(OverlapPlan, GivesThePeriodWhereNothingFits) {
  const OverlapLoad load{.fragment_bytes = {bytes_of(11)}, .sync_every = 10, .step_seconds = 1};
  const OverlapPlan plan = plan_overlap(load, megabit());
  EXPECT_EQ(plan.tau, 10);
  EXPECT_FALSE(plan.fits);
}

TEST(OverlapPlan, FloorIsThePayloadOfAPeriodOverItsTime) {
  const OverlapLoad load{.fragment_bytes = {1'000'000, 250'000}, .sync_every = 10, .step_seconds = 0.5};
  EXPECT_DOUBLE_EQ(floor_mbit(load), 2.0);
}

// Four fragments and H = 30 send at 0, 7, 15, 22, 30, ...
TEST(OverlapPlan, EndsARunWhereNothingIsInFlight) {
  EXPECT_EQ(run_steps(4, 30, 4), 64) << "what was sent at 60 has arrived";
  EXPECT_EQ(run_steps(4, 30, 7), 67) << "and what is due at 67 is not sent any more";
  EXPECT_EQ(run_steps(4, 30, 30), 90) << "there is always something";
  EXPECT_EQ(run_steps(1, 30, 0), 61);
}

}  // namespace
}  // namespace thinwire::launch
