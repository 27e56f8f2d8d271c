#include "trainer/finite.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

namespace thinwire::trainer {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Finite, FindsTheFirstBadValueWhereverItIs) {
  for (const std::int64_t size : {1, 5, 1023, 1024, 1025, 5000})
    for (const std::int64_t place : {std::int64_t{0}, size / 2, size - 1})
      for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
        at::Tensor tensor = at::full({size}, std::numeric_limits<float>::max());
        EXPECT_FALSE(first_nonfinite(tensor).has_value());
        tensor[place] = bad;
        tensor[size - 1] = kNan;
        EXPECT_EQ(first_nonfinite(tensor), place) << size;
      }
}

TEST(Finite, ReadsTensorsInTheirOwnOrderAndOnlyFloats) {
  at::Tensor matrix = at::zeros({3, 4});
  matrix[2][1] = kInfinity;
  EXPECT_EQ(first_nonfinite(matrix), 9);
  EXPECT_EQ(first_nonfinite(matrix.t()), 5);
  EXPECT_FALSE(first_nonfinite(at::ones({3}, at::kLong)).has_value());
  EXPECT_FALSE(first_nonfinite(at::Tensor()).has_value());
}

TEST(Finite, NamesTensorIndexAndValue) {
  EXPECT_EQ(describe_nonfinite({{"a", at::ones({2})}, {"b", at::full({3}, kNan)}}), "b[0] is NaN");
  EXPECT_EQ(describe_nonfinite({{"a", at::full({1}, -kInfinity)}}), "a[0] is infinite");
  EXPECT_FALSE(describe_nonfinite({{"a", at::ones({2})}}).has_value());
}

}  // namespace
}  // namespace thinwire::trainer
