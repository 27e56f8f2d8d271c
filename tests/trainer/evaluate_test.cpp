#include "trainer/evaluate.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/nn/linear.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/data/tokenizer.h"
#include "trainer/model/language_model.h"

namespace thinwire::trainer {
namespace {

std::shared_ptr<LanguageModel> tiny_model() {
  ModelOptions options;
  options.layers = 1;
  options.width = 8;
  options.heads = options.kv_heads = 2;
  options.mlp_width = 16;
  options.context = 16;
  options.vocab = 256;
  const auto layer = [](const std::string&, std::int64_t in, std::int64_t out) {
    return quant::make_float_linear(in, out);
  };
  return make_model(options, layer, 1);
}

std::unique_ptr<Tokenizer> bytes() {
  DataOptions options;
  options.tokenizer = "bytes";
  return make_tokenizer(options);
}

std::string some_text(std::size_t length) {
  std::string text;
  for (std::size_t i = 0; i < length; ++i) text += static_cast<char>('a' + i * i % 23);
  return text;
}

class Evaluate : public testing::Test {
 protected:
  EvaluationText text_of(const std::vector<std::string>& texts) {
    std::vector<std::string> paths;
    for (const std::string& text : texts) {
      paths.push_back(folder_ / std::to_string(paths.size()));
      test::write_bytes(paths.back(), text);
    }
    std::vector<Source> sources = open_sources(paths);
    read_sources(sources, AcceptedText::kUtf8, {});
    return whole_text(sources, *bytes(), 16);
  }

  test::TemporaryFolder folder_;
};

TEST_F(Evaluate, EveryTokenButASourcesFirstIsATargetOnce) {
  for (const std::size_t length : {2, 16, 17, 18, 500}) {
    const auto text = text_of({some_text(length), "ab", "x"});
    std::string seen;
    for (std::size_t i = 0; i < text.size; ++i) {
      const at::Tensor flat = text.batch(i).targets.flatten();
      for (std::int64_t t = 0; t < flat.numel(); ++t) seen += static_cast<char>(flat[t].item<std::int64_t>());
    }
    EXPECT_EQ(seen, some_text(length).substr(1) + "b") << length;
    EXPECT_EQ(text.tokens, length + 3);
    EXPECT_EQ(text.bytes, length + 3);
  }
}

TEST_F(Evaluate, AModelThatKnowsNothingNeedsTheLogarithmOfTheVocabulary) {
  const auto model = tiny_model();
  const at::NoGradGuard no_grad;
  for (at::Tensor parameter : model->parameters()) parameter.zero_();
  const Evaluation evaluation = evaluate(*model, text_of({some_text(100)}));
  EXPECT_EQ(evaluation.tokens, 99);
  EXPECT_NEAR(evaluation.loss, std::log(256.0), 1e-6);
  EXPECT_NEAR(evaluation.perplexity, 256, 1e-3);
  EXPECT_NEAR(evaluation.bits_per_byte, 8, 1e-5);
}

TEST_F(Evaluate, FewerBytesInATokenCostMoreBitsInAByte) {
  const auto model = tiny_model();
  EvaluationText text = text_of({some_text(100)});
  const double bits = evaluate(*model, text).bits_per_byte;
  text.bytes /= 2;
  EXPECT_DOUBLE_EQ(evaluate(*model, text).bits_per_byte, 2 * bits);
}

TEST_F(Evaluate, TextWithoutATargetIsRefused) {
  EXPECT_THROW(text_of({"x"}), std::runtime_error);
}

// Values whose sum depends on the order.
TEST(EvaluationOf, AddsTheSumsInOneOrderWhoeverHasThem) {
  std::vector<double> sums;
  for (int i = 0; i < 11; ++i) sums.push_back(i % 3 == 0 ? 1e17 : 1.0 / (i + 1));
  double expected = 0;
  for (const double sum : sums) expected += sum;
  for (const std::size_t workers : {1u, 2u, 3u, 20u}) {
    std::vector<Tally> tallies(workers);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      Tally& tally = tallies[i % workers];
      tally.sums.push_back(sums[i]);
      tally.groups.push_back(1);
      tally.targets += 10;
    }
    tallies[0].tokens = 200;
    tallies[0].bytes = 400;
    const Evaluation evaluation = evaluation_of(tallies);
    EXPECT_EQ(evaluation.loss, expected / 110) << workers << " workers";
    EXPECT_EQ(evaluation.tokens, 110);
    EXPECT_DOUBLE_EQ(evaluation.bits_per_byte, expected / 110 / (std::log(2.0) * 2));
  }
}

TEST(EvaluationOf, TakesGroupsByRank) {
  // Three sources of two workers: the first and third are worker 0's.
  const std::vector<Tally> tallies = {
      {.groups = {2, 1}, .sums = {1e17, 1, -1e17}, .targets = 3, .tokens = 6, .bytes = 6},
      {.groups = {1}, .sums = {3}, .targets = 1, .tokens = 2, .bytes = 2}};
  EXPECT_EQ(evaluation_of(tallies).loss, ((1e17 + 1) + 3 - 1e17) / 4);
}

}  // namespace
}  // namespace thinwire::trainer
