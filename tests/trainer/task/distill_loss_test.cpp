#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "trainer/task/distill_loss.h"

namespace thinwire::trainer {
namespace {

at::Tensor random_normal(at::IntArrayRef shape, std::uint64_t seed) {
  return at::empty(shape).normal_(0, 1, at::detail::createCPUGenerator(seed));
}

at::Tensor gradient(const at::Tensor& student, const at::Tensor& teacher, double temperature) {
  at::Tensor leaf = student.clone().requires_grad_();
  logits_loss(leaf, teacher, temperature).backward();
  return leaf.grad();
}

TEST(LogitsLoss, IsZeroAtEqualityAndPositiveElse) {
  const at::Tensor logits = random_normal({3, 5, 11}, 1);
  EXPECT_NEAR(logits_loss(logits, logits, 2).item<double>(), 0, 1e-7);
  EXPECT_GT(logits_loss(logits, random_normal({3, 5, 11}, 2), 2).item<double>(), 0.01);
}

TEST(LogitsLoss, GradientIsTheTemperatureTimesTheDifferenceOfProbabilitiesPerToken) {
  const at::Tensor student = random_normal({6, 11}, 3), teacher = random_normal({6, 11}, 4);
  for (const double temperature : {0.5, 1.0, 4.0}) {
    const at::Tensor expected =
        temperature * (at::softmax(student / temperature, -1) - at::softmax(teacher / temperature, -1)) / 6;
    EXPECT_LT((gradient(student, teacher, temperature) - expected).abs().max().item<double>(), 1e-6)
        << temperature;
  }
}

TEST(LogitsLoss, TheTemperatureHardlyChangesTheGradientOfNearlyEqualLogits) {
  const at::Tensor teacher = random_normal({64, 11}, 5) * 0.3,
                   student = teacher + random_normal({64, 11}, 6) * 0.01;
  const double once = gradient(student, teacher, 2).norm().item<double>();
  const double twice = gradient(student, teacher, 4).norm().item<double>();
  EXPECT_NEAR(twice / once, 1, 0.15);
}

TEST(LogitsLoss, TendsToTheDistanceOfCentredLogits) {
  const at::Tensor student = random_normal({6, 11}, 7).to(at::kDouble),
                   teacher = random_normal({6, 11}, 8).to(at::kDouble);
  const auto centred = [](const at::Tensor& logits) { return logits - logits.mean(-1, true); };
  const double limit =
      (centred(student) - centred(teacher)).square().sum(-1).mean().item<double>() / (2 * 11);
  EXPECT_NEAR(logits_loss(student, teacher, 1000).item<double>(), limit, 1e-3 * limit);
}

TEST(DistillLosses, SendNoGradientToTheTeacher) {
  at::Tensor student = random_normal({2, 3, 5}, 9).requires_grad_();
  at::Tensor teacher = random_normal({2, 3, 5}, 10).requires_grad_();
  (logits_loss(student, teacher, 1) + hidden_loss({student}, {teacher}, {{0, 0}})).backward();
  EXPECT_TRUE(student.grad().defined());
  EXPECT_FALSE(teacher.grad().defined());
}

TEST(HiddenLoss, IsTheMeanOverPairsOfTheMeanSquaredDifference) {
  const at::Tensor zero = at::zeros({2, 4}), one = at::ones({2, 4}), three = at::full({2, 4}, 3.0);
  EXPECT_EQ(hidden_loss({one, three}, {one, three}, {{0, 0}, {1, 1}}).item<double>(), 0);
  EXPECT_EQ(hidden_loss({zero, zero}, {one, zero, three}, {{0, 0}, {1, 2}}).item<double>(), (1 + 9) / 2.0);
}

TEST(HiddenStates, MapToEveryRthOfTheTeacher) {
  const std::vector<std::pair<std::size_t, std::size_t>> expected = {{0, 0}, {1, 3}, {2, 6}, {3, 9}, {4, 12}};
  EXPECT_EQ(map_hidden_states(4, 12), expected);
  EXPECT_EQ(map_hidden_states(2, 2).back(), std::make_pair(std::size_t{2}, std::size_t{2}));
  EXPECT_THROW(map_hidden_states(3, 4), c10::ValueError);
}

}  // namespace
}  // namespace thinwire::trainer
