#include "trainer/inner/inner_optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::test {
namespace {

using trainer::InnerOptions;
using trainer::TrainedTensor;

// Sizes around vector widths, one of which does not decay, and the matrix of a block.
std::vector<TrainedTensor> some_tensors() {
  std::vector<TrainedTensor> trained;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(11);
  for (const std::int64_t size : {1, 17, 130}) {
    TrainedTensor item;
    item.name = "t" + std::to_string(size);
    item.tensor = at::randn({size}, generator).requires_grad_();
    item.decays = size != 17;
    trained.push_back(item);
  }
  trained.push_back({.name = "matrix", .tensor = at::randn({9, 5}, generator).requires_grad_(), .block = 0});
  return trained;
}

void set_gradients(std::vector<TrainedTensor>& trained, int step) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<std::uint64_t>(100 + step));
  for (TrainedTensor& item : trained) item.tensor.mutable_grad() = at::randn(item.tensor.sizes(), generator);
}

std::vector<at::Tensor> values(const std::vector<TrainedTensor>& trained) {
  std::vector<at::Tensor> copies;
  for (const TrainedTensor& item : trained) copies.push_back(item.tensor.detach().clone());
  return copies;
}

InnerOptions options_for(const std::string& optimizer) {
  InnerOptions options;
  options.optimizer = optimizer;
  options.betas = {0.9, 0.95};
  options.weight_decay = 0.1;
  return options;
}

TEST(AdamW, FollowsThePlainFormula) {
  auto trained = some_tensors();
  const InnerOptions options = options_for("adamw");
  const auto optimizer = make_inner_optimizer(options, trained);
  std::vector<at::Tensor> theta = values(trained), m, v;
  for (at::Tensor& t : theta) {
    t = t.to(at::kDouble);
    m.push_back(at::zeros_like(t));
    v.push_back(at::zeros_like(t));
  }
  for (int step = 1; step <= 10; ++step) {
    set_gradients(trained, step);
    const double lr = 0.01 * step;
    optimizer->step(lr);
    for (std::size_t i = 0; i < trained.size(); ++i) {
      const at::Tensor g = trained[i].tensor.grad().to(at::kDouble);
      if (trained[i].decays) theta[i] *= 1 - lr * options.weight_decay;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.95 * v[i] + 0.05 * g * g;
      const at::Tensor mean = m[i] / (1 - std::pow(0.9, step));
      theta[i] -= lr * mean / ((v[i] / (1 - std::pow(0.95, step))).sqrt() + 1e-8);
      // Ten steps of a few float32 roundings each.
      EXPECT_TRUE(at::allclose(trained[i].tensor.to(at::kDouble), theta[i], 1e-5, 1e-6)) << "step " << step;
    }
  }
}

TEST(Sgd, FollowsThePlainFormula) {
  for (const double momentum : {0.0, 0.9}) {
    auto trained = some_tensors();
    InnerOptions options = options_for("sgd");
    options.betas = {momentum};
    const auto optimizer = make_inner_optimizer(options, trained);
    std::vector<at::Tensor> theta = values(trained), m = theta;
    for (at::Tensor& t : m) t = at::zeros_like(t);
    for (int step = 1; step <= 5; ++step) {
      set_gradients(trained, step);
      optimizer->step(0.05);
      for (std::size_t i = 0; i < trained.size(); ++i) {
        const at::Tensor g = trained[i].tensor.grad() + (trained[i].decays ? 0.1 : 0) * theta[i];
        m[i] = momentum * m[i] + g;
        theta[i] = theta[i] - 0.05 * m[i];
        EXPECT_TRUE(at::allclose(trained[i].tensor, theta[i], 1e-5, 1e-6)) << "momentum " << momentum;
      }
    }
  }
}

class EveryOptimizer : public testing::TestWithParam<const char*> {};

TEST_P(EveryOptimizer, GoesOnBitForBitFromItsState) {
  const InnerOptions options = options_for(GetParam());
  auto straight = some_tensors();
  const auto first = make_inner_optimizer(options, straight);
  for (int step = 1; step <= 3; ++step) {
    set_gradients(straight, step);
    first->step(0.01);
  }
  auto resumed = some_tensors();
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < resumed.size(); ++i) resumed[i].tensor.copy_(straight[i].tensor);
  const trainer::State state = first->state().copy();
  for (int step = 4; step <= 6; ++step) {
    set_gradients(straight, step);
    first->step(0.01);
  }
  const auto second = make_inner_optimizer(options, resumed);
  second->load(state);
  for (int step = 4; step <= 6; ++step) {
    set_gradients(resumed, step);
    second->step(0.01);
  }
  for (std::size_t i = 0; i < resumed.size(); ++i) {
    EXPECT_TRUE(at::equal(resumed[i].tensor, straight[i].tensor)) << resumed[i].name;
  }
}

TEST_P(EveryOptimizer, LeavesATensorWithoutGradientAlone) {
  auto trained = some_tensors();
  const auto optimizer = make_inner_optimizer(options_for(GetParam()), trained);
  set_gradients(trained, 1);
  trained[0].tensor.mutable_grad() = at::Tensor();
  const auto before = values(trained);
  optimizer->step(0.1);
  EXPECT_TRUE(at::equal(trained[0].tensor, before[0]));
  EXPECT_FALSE(at::equal(trained[2].tensor, before[2]));
  optimizer->zero_grad();
  EXPECT_FALSE(trained[2].tensor.grad().defined());
}

TEST_P(EveryOptimizer, RefusesTheStateOfOtherTensors) {
  auto trained = some_tensors();
  const auto optimizer = make_inner_optimizer(options_for(GetParam()), trained);
  trainer::State state = optimizer->state();
  state.tensors.begin()->second = at::zeros({3});
  EXPECT_THAT(message_of([&] { optimizer->load(state); }), testing::HasSubstr(state.tensors.begin()->first));
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryOptimizer, testing::Values("adamw", "muon", "sgd"));

TEST(InnerOptimizer, RefusesAnUnknownNameAndNamesTheKnown) {
  EXPECT_THAT(message_of([] { make_inner_optimizer(options_for("lion"), some_tensors()); }),
              testing::HasSubstr("adamw, muon, sgd; found \"lion\""));
  InnerOptions one_beta = options_for("adamw");
  one_beta.betas = {0.9};
  EXPECT_THAT(message_of([&] { make_inner_optimizer(one_beta, some_tensors()); }),
              testing::HasSubstr("adamw expects two values, found 1"));
}

TEST(LearningRate, WarmsUpThenFollowsACosine) {
  InnerOptions options;
  options.lr = 2;
  options.warmup = 4;
  options.steps = 12;
  options.final_lr = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(options, 1), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(options, 4), 2);
  EXPECT_DOUBLE_EQ(learning_rate(options, 8), 1.1);  // half way between 2 and 0.2
  EXPECT_DOUBLE_EQ(learning_rate(options, 12), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(options, 13), 0.2);
  EXPECT_GT(learning_rate(options, 5), learning_rate(options, 6));
}

TEST(LearningRate, StaysConstantWhenAskedAndNeedsNoWarmUp) {
  InnerOptions options;
  options.lr = 3;
  options.warmup = 0;
  options.schedule = "constant";
  EXPECT_DOUBLE_EQ(learning_rate(options, 1), 3);
  EXPECT_DOUBLE_EQ(learning_rate(options, options.steps), 3);
  options.schedule = "linear";
  EXPECT_THAT(message_of([&] { learning_rate(options, 1); }), testing::HasSubstr("found 'linear'"));
}

TEST(LearningRate, OfARunOfWarmUpAloneIsFinite) {
  InnerOptions options;
  options.warmup = options.steps = 5;
  for (int step = 1; step <= 6; ++step) EXPECT_TRUE(std::isfinite(learning_rate(options, step))) << step;
}

TEST(ClipGradients, ScalesTheGlobalNormDownToTheLimit) {
  auto trained = some_tensors();
  set_gradients(trained, 1);
  double squares = 0;
  std::vector<at::Tensor> before;
  for (const TrainedTensor& item : trained) {
    squares += item.tensor.grad().square().sum().item<double>();
    before.push_back(item.tensor.grad().clone());
  }
  const double norm = std::sqrt(squares);
  ASSERT_GT(norm, 1);
  EXPECT_NEAR(clip_gradients(trained, 0), norm, 1e-5 * norm);
  EXPECT_NEAR(clip_gradients(trained, norm * 2), norm, 1e-5 * norm);
  for (std::size_t i = 0; i < trained.size(); ++i)
    EXPECT_TRUE(at::equal(trained[i].tensor.grad(), before[i]));
  EXPECT_NEAR(clip_gradients(trained, 1), norm, 1e-5 * norm);
  EXPECT_NEAR(clip_gradients(trained, 0), 1, 1e-5);
  EXPECT_TRUE(at::allclose(trained[2].tensor.grad(), before[2] / norm));
}

TEST(ClipGradients, ReportsANormThatIsNotFiniteAndChangesNothing) {
  auto trained = some_tensors();
  set_gradients(trained, 1);
  trained[1].tensor.mutable_grad()[3] = INFINITY;
  const at::Tensor before = trained[2].tensor.grad().clone();
  EXPECT_FALSE(std::isfinite(clip_gradients(trained, 1)));
  EXPECT_TRUE(at::equal(trained[2].tensor.grad(), before));
}

TEST(ClipGradients, OfNoGradientsIsZero) {
  EXPECT_EQ(clip_gradients(some_tensors(), 1), 0);
}

}  // namespace
}  // namespace thinwire::test
