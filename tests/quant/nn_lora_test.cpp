#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "quant/nn/lora_linear.h"
#include "tests/quant/nn_support.h"

namespace thinwire::quant {
namespace {

constexpr std::int64_t kIn = 40, kOut = 24;  // 960 values: the blocks of 64 straddle rows

at::Generator generator(std::uint64_t seed) {
  return at::detail::createCPUGenerator(seed);
}

std::shared_ptr<LoraLinear> make_layer(LoraLinearOptions options = {.rank = 3, .alpha = 6}) {
  auto layer = std::make_shared<LoraLinear>(kIn, kOut, options, generator(1));
  layer->set_base(random_normal({kOut, kIn}, 2) * 0.1);
  return layer;
}

TEST(LoraLinear, StartsAsItsBaseAndOnlyBHasAGradient) {
  const auto layer = make_layer();
  const at::Tensor x = random_normal({5, kIn}, 3);
  const at::Tensor y = layer->forward(x);
  EXPECT_TRUE(at::equal(y, at::linear(x, layer->effective_weight())));
  y.sum().backward();
  EXPECT_EQ(layer->named_parameters()["lora_a"].grad().abs().max().item<float>(), 0);
  EXPECT_GT(layer->named_parameters()["lora_b"].grad().abs().max().item<float>(), 0);
}

TEST(LoraLinear, GradientsEqualThoseOfTheDenseFormula) {
  const auto layer = make_layer();
  const at::Tensor base = layer->effective_weight();  // B is still zero
  set_parameter(*layer, "lora_b", random_normal({kOut, 3}, 4));
  const at::Tensor a = layer->named_parameters()["lora_a"].detach();
  const at::Tensor b = layer->named_parameters()["lora_b"].detach();
  at::Tensor x = random_normal({2, 5, kIn}, 5).requires_grad_();
  const at::Tensor g = random_normal({2, 5, kOut}, 6);
  layer->forward(x).backward(g);

  const double c = 6.0 / 3.0;
  const at::Tensor gb = at::matmul(g, b), flat_g = g.flatten(0, 1), flat_x = x.detach().flatten(0, 1);
  EXPECT_TRUE(at::allclose(x.grad(), at::matmul(g, base) + c * at::matmul(gb, a), 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(layer->named_parameters()["lora_a"].grad(),
                           c * at::matmul(gb.flatten(0, 1).t(), flat_x), 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(layer->named_parameters()["lora_b"].grad(),
                           c * at::matmul(flat_g.t(), at::matmul(flat_x, a.t())), 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(layer->forward(x), at::linear(x, layer->effective_weight()), 1e-4, 1e-4));
}

TEST(LoraLinear, KeepsNoFloatCopyOfTheBase) {
  const auto layer = make_layer();
  ASSERT_EQ(layer->buffers().size(), 1U);
  const at::Tensor base = layer->named_buffers()["base"];
  EXPECT_EQ(base.scalar_type(), at::kByte);
  EXPECT_EQ(base.numel(),
            static_cast<std::int64_t>(make_codec({.name = "nf4", .block = 64})->encoded_bytes(kIn * kOut)));
  EXPECT_LT(base.numel(), kIn * kOut * 5 / 8);  // 4 bits and the scales, far from 4 bytes
  std::int64_t trained = 0;
  for (const at::Tensor& parameter : layer->parameters()) trained += parameter.numel();
  EXPECT_EQ(trained, 3 * (kIn + kOut));
}

TEST(LoraLinear, GraphKeepsThePayloadOnly) {
  // The backward pass multiplies by what the payload then says: nothing else was saved.
  const auto layer = make_layer();
  at::Tensor x = random_normal({5, kIn}, 7).requires_grad_();
  const at::Tensor y = layer->forward(x);
  layer->set_base(at::zeros({kOut, kIn}));
  y.sum().backward();
  EXPECT_EQ(x.grad().abs().max().item<float>(), 0);
}

TEST(LoraLinear, GraphOutlivesTheLayer) {
  at::Tensor x = random_normal({5, kIn}, 8).requires_grad_();
  auto layer = make_layer();
  const at::Tensor expected = at::matmul(at::ones({5, kOut}), layer->effective_weight());
  const at::Tensor y = layer->forward(x);
  layer.reset();
  y.sum().backward();
  EXPECT_TRUE(at::allclose(x.grad(), expected, 1e-4, 1e-5));
}

TEST(LoraLinear, FactorsAreAFunctionOfTheGenerator) {
  const auto draw = [](std::uint64_t seed) {
    return LoraLinear(kIn, kOut, {}, generator(seed)).named_parameters()["lora_a"].detach().clone();
  };
  EXPECT_TRUE(same_bits(draw(1), draw(1)));
  EXPECT_FALSE(same_bits(draw(1), draw(2)));
  EXPECT_LE(draw(1).abs().max().item<double>(), 1 / std::sqrt(static_cast<double>(kIn)));
}

TEST(LoraLinear, DropoutDrawsFromItsGeneratorInTrainingOnly) {
  const auto layer = make_layer({.rank = 3, .alpha = 6, .dropout = 0.5});
  set_parameter(*layer, "lora_b", random_normal({kOut, 3}, 9));
  const at::Tensor x = random_normal({5, kIn}, 10);
  EXPECT_THROW(layer->forward(x), c10::Error);  // no generator yet
  const auto run = [&](std::uint64_t seed) {
    layer->set_dropout_generator(generator(seed));
    return layer->forward(x).detach();
  };
  EXPECT_TRUE(same_bits(run(1), run(1)));
  EXPECT_FALSE(same_bits(run(1), run(2)));
  at::Tensor sum = at::zeros({5, kOut});
  for (std::uint64_t seed = 0; seed < 400; ++seed) sum += run(seed);
  layer->eval();
  const at::Tensor plain = run(1);
  EXPECT_TRUE(same_bits(plain, run(2)));
  // Unbiased: the mean of 400 draws stays within six standard errors, about 0.3 of the output's own size.
  EXPECT_LT((sum / 400 - plain).norm().item<double>(), 0.3 * plain.norm().item<double>());
}

TEST(LoraLinear, RefusesOptionsAndShapesThatDoNotFit) {
  EXPECT_THROW(LoraLinear(kIn, kOut, {.rank = 0}, generator(1)), c10::ValueError);
  EXPECT_THROW(LoraLinear(kIn, kOut, {.dropout = 1}, generator(1)), c10::ValueError);
  EXPECT_THROW(LoraLinear(kIn, kOut, {.codec = "nf5"}, generator(1)), std::invalid_argument);
  EXPECT_THROW(make_layer()->set_base(at::zeros({kIn, kOut})), c10::Error);
}

}  // namespace
}  // namespace thinwire::quant
