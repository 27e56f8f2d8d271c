#include "trainer/inner/muon.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::test {
namespace {

using trainer::InnerOptions;
using trainer::TensorGroup;
using trainer::TrainedTensor;

at::Tensor random_tensor(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

InnerOptions muon_options() {
  InnerOptions options;
  options.optimizer = "muon";
  options.weight_decay = 0.1;
  return options;
}

// What five steps of the quintic make of one singular value, in double.
double quintic(double x) {
  for (int step = 0; step < 5; ++step) x = 3.4445 * x - 4.7750 * std::pow(x, 3) + 2.0315 * std::pow(x, 5);
  return x;
}

TEST(Orthogonalised, KeepsSingularVectorsAndBringsValuesIntoTheKnownBand) {
  for (const auto& [rows, columns] :
       std::vector<std::pair<int, int>>{{8, 8}, {5, 24}, {24, 5}, {1, 7}, {7, 1}}) {
    const at::Tensor matrix = random_tensor({rows, columns}, 3) * 17;
    const at::Tensor found = trainer::orthogonalised(matrix);
    ASSERT_EQ(found.sizes(), matrix.sizes());
    const auto [u, s, vh] = at::linalg_svd(matrix.to(at::kDouble), /*full_matrices=*/false);
    at::Tensor values = s / at::linalg_vector_norm(s);
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      const double value = quintic(values[i].item<double>());
      EXPECT_GT(value, 0.68);
      EXPECT_LT(value, 1.21);
      values[i] = value;
    }
    // Float32 products of up to 24 terms, five times; the slope of the quintic at 0 amplifies the first ones.
    const at::Tensor expected = at::mm(at::mm(u, at::diag(values)), vh);
    EXPECT_LT((found.to(at::kDouble) - expected).abs().max().item<double>(), 1e-4) << rows << "x" << columns;
  }
}

TEST(Orthogonalised, KnowsNoScaleAndLeavesZerosAlone) {
  const at::Tensor matrix = random_tensor({6, 4}, 5);
  EXPECT_TRUE(at::equal(trainer::orthogonalised(matrix), trainer::orthogonalised(matrix * 1024)));
  EXPECT_TRUE(at::equal(trainer::orthogonalised(at::zeros({6, 4})), at::zeros({6, 4})));
  EXPECT_TRUE(at::equal(trainer::orthogonalised(matrix).t(), trainer::orthogonalised(matrix.t())));
}

TEST(Muon, TakesTheStepsThatAreComputedByHand) {
  // A tall matrix with singular vectors along the axes: each value goes its own way through the quintic.
  std::vector<TrainedTensor> trained(1);
  trained[0] = {.name = "w", .tensor = at::zeros({3, 2}), .block = 0};
  at::Tensor& theta = trained[0].tensor;
  theta[0][0] = 1;
  theta[2][1] = 4;
  theta.requires_grad_();
  InnerOptions options = muon_options();
  options.momentum = 0.5;
  const auto optimizer = make_muon(options, trained);

  const double lr = 0.1, scale = 0.2 * std::sqrt(3.0);
  // Gradients (3, -4), then (6, 2): B = g = (3, -4), U = 1.5 B; then B = (7.5, 0), U = g + B / 2 = (9.75, 2).
  const std::vector<std::pair<double, double>> gradients = {{3, -4}, {6, 2}},
                                               updates = {{4.5, -6}, {9.75, 2}};
  double first = 1, second = 4;
  for (std::size_t step = 0; step < gradients.size(); ++step) {
    at::Tensor gradient = at::zeros({3, 2});
    gradient[0][0] = gradients[step].first;
    gradient[2][1] = gradients[step].second;
    theta.mutable_grad() = gradient;
    optimizer->step(lr);
    const auto [x, y] = updates[step];
    const double norm = std::hypot(x, y);
    first = first * (1 - lr * options.weight_decay) - lr * scale * quintic(x / norm);
    second = second * (1 - lr * options.weight_decay) - lr * scale * quintic(y / norm);
    EXPECT_NEAR(theta[0][0].item<double>(), first, 1e-5) << "step " << step;
    EXPECT_NEAR(theta[2][1].item<double>(), second, 1e-5) << "step " << step;
    EXPECT_EQ(theta[1].abs().max().item<double>(), 0.0);
  }
}

// A matrix of a block, and what looks like one but is AdamW's.
std::vector<TrainedTensor> a_block_and_others() {
  const auto item = [](const char* name, std::vector<std::int64_t> shape, TensorGroup group,
                       std::int64_t block) {
    return TrainedTensor{.name = name,
                         .tensor = random_tensor(shape, 7).requires_grad_(),
                         .decays = group == TensorGroup::kMatrix,
                         .group = group,
                         .block = block};
  };
  return {item("embedding", {11, 6}, TensorGroup::kMatrix, -1),
          item("blocks.0.w", {6, 6}, TensorGroup::kMatrix, 0),
          item("blocks.0.norm", {6}, TensorGroup::kVector, 0),
          item("blocks.0.step", {6, 1}, TensorGroup::kScale, 0)};
}

TEST(Muon, LeavesEverythingButMatricesOfBlocksToAdamWBitForBit) {
  std::vector<TrainedTensor> by_muon = a_block_and_others(), by_adamw = a_block_and_others();
  const auto muon = make_inner_optimizer(muon_options(), by_muon);
  InnerOptions options = muon_options();
  options.optimizer = "adamw";
  const auto adamw = make_inner_optimizer(options, by_adamw);
  for (std::uint64_t step = 1; step <= 4; ++step) {
    for (auto* trained : {&by_muon, &by_adamw})
      for (TrainedTensor& item : *trained)
        item.tensor.mutable_grad() = random_tensor(item.tensor.sizes(), 100 + step);
    muon->step(0.01);
    adamw->step(0.01);
  }
  for (std::size_t i = 0; i < by_muon.size(); ++i) {
    EXPECT_EQ(at::equal(by_muon[i].tensor, by_adamw[i].tensor), by_muon[i].name != "blocks.0.w")
        << by_muon[i].name;
  }
}

TEST(Muon, StepsAsFarAsAdamWDoes) {
  // Moonlight's rule: about 0.2 root mean square at any shape, where AdamW's steps have 0.2 to 0.4.
  for (const auto& [rows, columns] : std::vector<std::pair<int, int>>{{32, 32}, {16, 64}, {64, 16}}) {
    std::vector<TrainedTensor> trained = {
        {.name = "w", .tensor = at::zeros({rows, columns}).requires_grad_(), .block = 0}};
    const auto optimizer = make_muon(muon_options(), trained);
    trained[0].tensor.mutable_grad() = random_tensor({rows, columns}, 9);
    optimizer->step(1);
    const double rms = trained[0].tensor.detach().square().mean().sqrt().item<double>();
    EXPECT_GT(rms, 0.2 * 0.68);
    EXPECT_LT(rms, 0.2 * 1.21);
  }
}

TEST(Muon, LearnsALinearMap) {
  const at::Tensor inputs = random_tensor({64, 8}, 1), wanted = at::mm(inputs, random_tensor({8, 4}, 2));
  std::vector<TrainedTensor> trained = {
      {.name = "w", .tensor = at::zeros({8, 4}).requires_grad_(), .block = 0}};
  InnerOptions options = muon_options();
  options.weight_decay = 0;
  const auto optimizer = make_muon(options, trained);
  const auto loss = [&] { return (at::mm(inputs, trained[0].tensor) - wanted).square().mean(); };
  const double before = loss().item<double>();
  for (int step = 0; step < 100; ++step) {
    optimizer->zero_grad();
    loss().backward();
    optimizer->step(0.3 * (1 - step / 100.0));
  }
  EXPECT_LT(loss().item<double>(), before / 100);
}

TEST(Muon, RefusesAModelWithoutMatricesOfBlocks) {
  std::vector<TrainedTensor> trained = {{.name = "embedding", .tensor = at::zeros({8, 4}).requires_grad_()}};
  EXPECT_THAT(message_of([&] { make_muon(muon_options(), trained); }),
              testing::HasSubstr("inner.optimizer: muon steps the matrices of the model's blocks"));
}

}  // namespace
}  // namespace thinwire::test
