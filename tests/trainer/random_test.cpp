#include "trainer/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace thinwire::test {
namespace {

using trainer::fill_normal;
using trainer::random_stream;
using trainer::uniform_below;

TEST(RandomStream, IsAFunctionOfSeedPurposeAndNumbers) {
  EXPECT_EQ(random_stream(1, "a", {2, 3})(), random_stream(1, "a", {2, 3})());
  const std::uint64_t value = random_stream(1, "a", {2, 3})();
  EXPECT_NE(value, random_stream(2, "a", {2, 3})());
  EXPECT_NE(value, random_stream(1, "b", {2, 3})());
  EXPECT_NE(value, random_stream(1, "a", {3, 2})());
  EXPECT_NE(value, random_stream(1, "a", {23})());
  EXPECT_NE(value, random_stream(1, "a")());
}

TEST(UniformBelow, ReachesEveryValueAboutEquallyOften) {
  auto stream = random_stream(1, "uniform");
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(uniform_below(stream, 7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000.0));
  EXPECT_EQ(uniform_below(stream, 1), 0u);
}

TEST(FillNormal, HasTheMomentsOfANormalDistribution) {
  auto stream = random_stream(1, "normal");
  std::vector<float> values(100000);
  fill_normal(stream, 2, values);
  double mean = 0, square = 0, within = 0;
  for (const float value : values) {
    mean += value;
    square += value * value;
    within += std::abs(value) < 2;
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(mean / n, 0, 5 * 2 / std::sqrt(n));
  EXPECT_NEAR(square / n, 4, 5 * 4 * std::sqrt(2 / n));
  EXPECT_NEAR(within / n, 0.6827, 0.01);  // twelve draws are within 0.3 % of it
}

}  // namespace
}  // namespace thinwire::test
