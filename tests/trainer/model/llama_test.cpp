#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "quant/nn/linear.h"
#include "tests/trainer/model/slow_llama.h"
#include "tests/trainer/model/tiny_model.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/model/language_model.h"
#include "trainer/precision.h"

namespace thinwire::test {
namespace {

using trainer::LanguageModel;
using trainer::ModelOptions;

at::Tensor as_tensor(const std::vector<std::int64_t>& tokens) {
  return at::tensor(tokens, at::kLong).unsqueeze(0);
}

const std::vector<std::int64_t> kTokens = {3, 36, 0, 7, 7, 12, 25, 1, 30, 9, 3};

// Float32 sums of at most 64 products of magnitude below 10, over two blocks: 1e-4 is ten times what is seen.
void expect_formulas(const ModelOptions& sizes) {
  const auto model = float_model(sizes);
  enlarge_weights(*model);
  const at::NoGradGuard no_grad;
  const at::Tensor logits = model->forward(as_tensor(kTokens)).logits[0];
  const auto expected = SlowLlama(*model).logits(kTokens);
  ASSERT_EQ(logits.size(1), sizes.vocab);
  for (std::size_t t = 0; t < expected.size(); ++t) {
    for (std::size_t v = 0; v < expected[t].size(); ++v) {
      ASSERT_NEAR(logits[t][v].item<float>(), expected[t][v], 1e-4 * (1 + std::abs(expected[t][v])))
          << "position " << t << ", token " << v;
    }
  }
}

TEST(Llama, FollowsTheFormulas) {
  expect_formulas(tiny_sizes());
}

TEST(Llama, FollowsTheFormulasWithGroupedKeysAndAFreeHead) {
  ModelOptions sizes = tiny_sizes();
  sizes.kv_heads = 2;
  sizes.tied = false;
  expect_formulas(sizes);
  sizes.kv_heads = 1;
  expect_formulas(sizes);
}

TEST(Llama, FutureTokensDoNotChangePastLogits) {
  const auto model = float_model(tiny_sizes());
  enlarge_weights(*model);
  std::vector<std::int64_t> other = kTokens;
  other[6] = 20;
  const at::Tensor a = model->forward(as_tensor(kTokens)).logits[0];
  const at::Tensor b = model->forward(as_tensor(other)).logits[0];
  EXPECT_TRUE(at::equal(a.narrow(0, 0, 6), b.narrow(0, 0, 6)));
  for (std::int64_t t = 6; t < a.size(0); ++t) EXPECT_FALSE(at::equal(a[t], b[t])) << "position " << t;
}

TEST(Llama, GroupedKeysEqualRepeatedOnes) {
  ModelOptions grouped_sizes = tiny_sizes();
  grouped_sizes.kv_heads = 2;
  const auto grouped = float_model(grouped_sizes);
  enlarge_weights(*grouped);
  const auto full = float_model(tiny_sizes());
  const at::NoGradGuard no_grad;
  auto full_parameters = full->named_parameters();
  for (const auto& item : grouped->named_parameters()) {
    at::Tensor weight = item.value();
    if (item.key().ends_with(".k.weight") || item.key().ends_with(".v.weight")) {
      weight = weight.view({2, 6, 24}).repeat_interleave(2, 0).reshape({24, 24});
    }
    full_parameters[item.key()].copy_(weight);
  }
  const at::Tensor a = grouped->forward(as_tensor(kTokens)).logits;
  const at::Tensor b = full->forward(as_tensor(kTokens)).logits;
  EXPECT_TRUE(at::allclose(a, b, 1e-5, 1e-5)) << (a - b).abs().max();
}

TEST(Llama, NamesItsParametersByTheirPlace) {
  ModelOptions sizes = tiny_sizes();
  sizes.layers = 1;
  sizes.tied = false;
  std::set<std::string> names;
  for (const auto& item : float_model(sizes)->named_parameters()) names.insert(item.key());
  const std::string block = "blocks.0.";
  EXPECT_EQ(names, (std::set<std::string>{
                       "embedding.weight", block + "attention_norm.weight", block + "attention.q.weight",
                       block + "attention.k.weight", block + "attention.v.weight",
                       block + "attention.o.weight", block + "mlp_norm.weight", block + "mlp.gate.weight",
                       block + "mlp.up.weight", block + "mlp.down.weight", "norm.weight", "head.weight"}));
}

TEST(Llama, ATiedHeadIsTheEmbedding) {
  const auto model = float_model(tiny_sizes());
  EXPECT_FALSE(model->named_parameters().contains("head.weight"));
  model->forward(as_tensor({1, 2})).logits.sum().backward();
  // Token 30 was not read: its gradient comes through the head alone.
  EXPECT_NE(model->named_parameters()["embedding.weight"].grad()[30].abs().sum().item<float>(), 0);
}

TEST(Llama, AsksTheFactoryForEveryLayerByItsPath) {
  std::set<std::string> asked;
  const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    asked.insert(name);
    return quant::make_float_linear(in, out);
  };
  ModelOptions sizes = tiny_sizes();
  sizes.tied = false;
  const auto model = trainer::make_model(sizes, linear, 1);
  EXPECT_EQ(asked.size(), 15u);
  for (const std::string& name : asked)
    EXPECT_TRUE(model->named_parameters().contains(name + ".weight")) << name;
}

TEST(Llama, GivesHiddenStatesWhenAsked) {
  const auto model = float_model(tiny_sizes());
  const trainer::ModelOutput output = model->forward(as_tensor(kTokens), true);
  ASSERT_EQ(output.hidden.size(), 3u);
  for (const at::Tensor& hidden : output.hidden) EXPECT_EQ(hidden.sizes(), (at::IntArrayRef{1, 11, 24}));
  EXPECT_TRUE(model->forward(as_tensor(kTokens)).hidden.empty());
}

TEST(Llama, StartsFromTheSeedAloneAndDrawsWhatItSays) {
  ModelOptions sizes = tiny_sizes();
  sizes.width = 64;
  sizes.vocab = 500;
  const auto a = float_model(sizes, 7);
  at::manual_seed(99);  // the default generator has no say
  const auto b = float_model(sizes, 7);
  const auto c = float_model(sizes, 8);
  for (const auto& item : a->named_parameters()) {
    const at::Tensor& value = item.value();
    EXPECT_TRUE(at::equal(value, b->named_parameters()[item.key()])) << item.key();
    if (value.dim() == 1) {
      EXPECT_TRUE(at::equal(value, at::ones_like(value))) << item.key();
      continue;
    }
    EXPECT_FALSE(at::equal(value, c->named_parameters()[item.key()])) << item.key();
    const bool residual = item.key().ends_with("o.weight") || item.key().ends_with("down.weight");
    const double deviation = residual ? 0.02 / std::sqrt(4.0) : 0.02;
    const double n = static_cast<double>(value.numel());
    EXPECT_NEAR(value.std().item<double>(), deviation, 5 * deviation / std::sqrt(2 * n)) << item.key();
    EXPECT_NEAR(value.mean().item<double>(), 0, 5 * deviation / std::sqrt(n)) << item.key();
  }
}

TEST(Llama, StartsFromTheSameValuesOnEveryProcessor) {
  const auto parameters = float_model(tiny_sizes(), 1)->named_parameters();
  const at::Tensor weight = parameters["blocks.1.mlp.down.weight"];
  // Written down on x86-64, to six digits.
  EXPECT_NEAR(weight[0][0].item<float>(), 0.0194676, 1e-7);
  EXPECT_NEAR(weight[23][39].item<float>(), -0.00943989, 1e-8);
}

TEST(Llama, FillsInSizesLeftAtZero) {
  ModelOptions sizes = tiny_sizes();
  sizes.mlp_width = 0;
  const ModelOptions resolved = float_model(sizes)->options();
  EXPECT_EQ(resolved.kv_heads, 4);
  EXPECT_EQ(resolved.mlp_width, 64);  // 8/3 * 24
}

TEST(Llama, RefusesSizesThatDoNotFitByName) {
  const auto refusal = [](auto change) {
    ModelOptions sizes = tiny_sizes();
    change(sizes);
    return message_of([&] { float_model(sizes); });
  };
  using testing::HasSubstr;
  EXPECT_THAT(refusal([](auto& s) { s.heads = 5; }), HasSubstr("heads that divide width 24, found 5"));
  EXPECT_THAT(refusal([](auto& s) { s.heads = 8; }), HasSubstr("an even width per head"));
  EXPECT_THAT(refusal([](auto& s) { s.kv_heads = 3; }), HasSubstr("kv_heads that divide heads 4, found 3"));
  EXPECT_THAT(refusal([](auto& s) { s.vocab = 0; }), HasSubstr("vocab > 0"));
  EXPECT_THAT(refusal([](auto& s) { s.layers = 0; }), HasSubstr("layers > 0"));
  EXPECT_THAT(refusal([](auto& s) { s.context = 0; }), HasSubstr("context > 0"));
  EXPECT_THAT(refusal([](auto& s) { s.mlp_width = -1; }), HasSubstr("mlp_width > 0"));
  EXPECT_THAT(refusal([](auto& s) { s.arch = "lama"; }),
              HasSubstr("model.arch: expected one of llama; found \"lama\""));
}

TEST(Llama, RefusesMoreTokensThanItsContext) {
  const auto model = float_model(tiny_sizes());
  EXPECT_THAT(message_of([&] {
                model->forward(at::zeros({1, 17}, at::kLong));
              }),
              testing::HasSubstr("context is 16 tokens, found 17"));
}

TEST(Llama, InBfloat16KeepsLogitsAndTheResidualStreamFloat32) {
  const auto model = float_model(tiny_sizes());
  enlarge_weights(*model);
  const at::Tensor exact = model->forward(as_tensor(kTokens)).logits;
  trainer::ModelOutput output;
  {
    const trainer::PrecisionScope scope("bfloat16");
    output = model->forward(as_tensor(kTokens), true);
  }
  EXPECT_EQ(output.logits.scalar_type(), at::kFloat);
  EXPECT_EQ(output.hidden.back().scalar_type(), at::kFloat);
  EXPECT_FALSE(at::equal(output.logits, exact));
  EXPECT_TRUE(at::allclose(output.logits, exact, 0.1, 0.1 * exact.abs().max().item<double>()));
  output.logits.square().mean().backward();
  for (const auto& item : model->named_parameters()) {
    EXPECT_EQ(item.value().grad().scalar_type(), at::kFloat) << item.key();
  }
  EXPECT_TRUE(at::equal(model->forward(as_tensor(kTokens)).logits, exact)) << "the scope has ended";
}

TEST(Precision, RefusesAnUnknownName) {
  EXPECT_THAT(message_of([] { trainer::PrecisionScope("float16"); }), testing::HasSubstr("found 'float16'"));
}

TEST(BlockOf, ReadsTheBlockFromAName) {
  EXPECT_EQ(trainer::block_of("blocks.12.mlp.up.weight"), 12);
  EXPECT_EQ(trainer::block_of("embedding.weight"), -1);
  EXPECT_EQ(trainer::block_of("norm.weight"), -1);
  EXPECT_EQ(trainer::block_of("blocks.x.weight"), -1);
  EXPECT_EQ(trainer::block_of("blocks.1"), -1);
}

}  // namespace
}  // namespace thinwire::test
