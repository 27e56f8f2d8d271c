#include "trainer/state.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::test {
namespace {

using testing::HasSubstr;
using trainer::State;

State some_state(int value) {
  State state;
  state.tensors["weight"] = at::full({2, 3}, value);
  state.meta = {{"value", value}};
  return state;
}

TEST(State, GivesBackEveryPartThatWasAdded) {
  State inner;
  inner.add("a", some_state(1));
  State whole;
  whole.add("inner", inner);
  whole.add("inner2", some_state(2));
  EXPECT_TRUE(whole.tensors.contains("inner/a/weight"));
  const State part = whole.part("inner");
  EXPECT_EQ(part.tensors.size(), 1u);  // nothing of inner2
  EXPECT_EQ(part.part("a").meta["value"], 1);
  EXPECT_TRUE(at::equal(part.part("a").tensors.at("weight"), some_state(1).tensors.at("weight")));
  EXPECT_EQ(whole.part("inner2").meta["value"], 2);
}

TEST(State, OfAMissingPartIsEmpty) {
  const State part = some_state(1).part("other");
  EXPECT_TRUE(part.tensors.empty());
  EXPECT_TRUE(part.meta.empty());
}

TEST(State, TakesAPartOnlyOnce) {
  State whole;
  whole.add("a", some_state(1));
  EXPECT_THAT(message_of([&] { whole.add("a", some_state(2)); }), HasSubstr("'a' is added twice"));
}

TEST(State, RequiresTheShapeAndTypeThatAreExpected) {
  const State state = some_state(1);
  EXPECT_NO_THROW(state.require("weight", at::zeros({2, 3}, at::kLong)));
  EXPECT_THAT(message_of([&] { state.require("bias", at::zeros({3})); }), HasSubstr("no tensor 'bias'"));
  EXPECT_THAT(message_of([&] {
                state.require("weight", at::zeros({3, 2}, at::kLong));
              }),
              AllOf(HasSubstr("'weight'"), HasSubstr("[3, 2]"), HasSubstr("[2, 3]")));
  EXPECT_THAT(message_of([&] { state.require("weight", at::zeros({2, 3})); }), HasSubstr("expected float"));
}

}  // namespace
}  // namespace thinwire::test
