// The outer loop's arithmetic against the formulas of quant/kernel/outer_ops.h, on every target, bit by bit.
#include "quant/kernel/outer_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "quant/kernel/target.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

using testing::bits_of;
using testing::normal_values;

class OuterOps : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (!is_supported(GetParam())) GTEST_SKIP() << "this processor has no " << target_name(GetParam());
    guard = std::make_unique<ForcedTarget>(GetParam());
  }
  std::unique_ptr<ForcedTarget> guard;
  static constexpr std::size_t kLengths[] = {0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 257, 1009};
};

INSTANTIATE_TEST_SUITE_P(Targets, OuterOps, ::testing::ValuesIn(compiled_targets()),
                         [](const auto& param) { return std::string(target_name(param.param)); });

TEST_P(OuterOps, TakeDifferencesSumsProductsAndQuotients) {
  for (const std::size_t n : kLengths) {
    const std::vector<float> a = normal_values(n, 1);
    const std::vector<float> b = normal_values(n, 2);
    std::vector<float> difference(n), sum = a, less = a, scaled = a, mean = a;
    std::vector<float> expected_difference(n), expected_sum(n), expected_scaled(n), expected_mean(n);
    for (std::size_t i = 0; i < n; ++i) {
      expected_difference[i] = a[i] - b[i];
      expected_sum[i] = a[i] + b[i];
      expected_scaled[i] = a[i] * 0.3f;
      expected_mean[i] = a[i] / 3.0f;
    }
    outer_delta(a, b, difference);
    add_in_place(sum, b);
    subtract_in_place(less, b);
    scale_in_place(scaled, 0.3f);
    divide_in_place(mean, 3.0f);
    EXPECT_EQ(bits_of(difference), bits_of(expected_difference)) << n;
    EXPECT_EQ(bits_of(less), bits_of(expected_difference)) << n;
    EXPECT_EQ(bits_of(sum), bits_of(expected_sum)) << n;
    EXPECT_EQ(bits_of(scaled), bits_of(expected_scaled)) << n;
    EXPECT_EQ(bits_of(mean), bits_of(expected_mean)) << n;
  }
}

TEST_P(OuterOps, DivideByAnyNumberOfContributors) {
  for (const float contributors : {1.0f, 2.0f, 3.0f, 4.0f, 6.0f, 64.0f, 0x1p120f}) {
    std::vector<float> mean = testing::awkward_values(257, 1), expected = mean;
    for (float& value : expected) value /= contributors;
    divide_in_place(mean, contributors);
    EXPECT_EQ(bits_of(mean), bits_of(expected)) << contributors;
  }
}

TEST_P(OuterOps, StepByNesterov) {
  for (const std::size_t n : kLengths) {
    const std::vector<float> gradient = normal_values(n, 1);
    std::vector<float> momentum = normal_values(n, 2), agreed = normal_values(n, 3);
    std::vector<float> expected_momentum = momentum, expected_agreed = agreed;
    for (std::size_t i = 0; i < n; ++i) {
      const float decayed = 0.9f * expected_momentum[i];
      expected_momentum[i] = decayed + gradient[i];
      const float ahead = 0.9f * expected_momentum[i];
      const float direction = gradient[i] + ahead;
      expected_agreed[i] -= 0.7f * direction;
    }
    nesterov_step({.lr = 0.7f, .momentum = 0.9f}, gradient, momentum, agreed);
    EXPECT_EQ(bits_of(momentum), bits_of(expected_momentum)) << n;
    EXPECT_EQ(bits_of(agreed), bits_of(expected_agreed)) << n;
  }
}

TEST_P(OuterOps, StepPlainlyWithoutMomentum) {
  const std::vector<float> gradient = {1.0f, -2.0f, 0.5f};
  std::vector<float> momentum(3, 0.0f), agreed = {1.0f, 1.0f, 1.0f};
  nesterov_step({.lr = 1.0f, .momentum = 0.0f}, gradient, momentum, agreed);
  EXPECT_EQ(momentum, gradient);
  EXPECT_EQ(agreed, (std::vector<float>{0.0f, 3.0f, 0.5f}));
}

TEST_P(OuterOps, MergeTheAgreedIntoTheLocalCopy) {
  for (const std::size_t n : kLengths) {
    const std::vector<float> agreed = normal_values(n, 1);
    std::vector<float> local = normal_values(n, 2), expected = local;
    for (std::size_t i = 0; i < n; ++i) {
      const float kept = 0.3f * expected[i];
      expected[i] = kept + (1.0f - 0.3f) * agreed[i];
    }
    merge_into_local(0.3f, agreed, local);
    EXPECT_EQ(bits_of(local), bits_of(expected)) << n;
    merge_into_local(0.0f, agreed, local);
    EXPECT_EQ(bits_of(local), bits_of(agreed)) << n;
  }
}

TEST_P(OuterOps, CopyBitForBitWhenNothingLocalIsKept) {
  std::vector<float> local = {INFINITY, NAN};
  const std::vector<float> agreed = {-0.0f, 1.0f};
  merge_into_local(0.0f, agreed, local);
  EXPECT_EQ(bits_of(local), bits_of(agreed));
}

TEST(OuterOpsArguments, RefuseSpansOfDifferentLengths) {
  std::vector<float> three(3), four(4);
  EXPECT_THROW(outer_delta(three, four, three), std::invalid_argument);
  EXPECT_THROW(outer_delta(three, three, four), std::invalid_argument);
  EXPECT_THROW(add_in_place(three, four), std::invalid_argument);
  EXPECT_THROW(subtract_in_place(three, four), std::invalid_argument);
  EXPECT_THROW(nesterov_step({}, three, four, three), std::invalid_argument);
  EXPECT_THROW(nesterov_step({}, four, three, three), std::invalid_argument);
  EXPECT_THROW(merge_into_local(0.5f, three, four), std::invalid_argument);
}

}  // namespace
}  // namespace thinwire::quant
