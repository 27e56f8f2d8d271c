#include "trainer/generate.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quant/nn/linear.h"
#include "tests/trainer/model/stories_model.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/data/byte_tokenizer.h"
#include "trainer/data/tokenizer.h"
#include "trainer/model/language_model.h"

namespace thinwire::test {
namespace {

using trainer::generate;
using trainer::GenerateOptions;

std::shared_ptr<trainer::LanguageModel> byte_model() {
  trainer::ModelOptions sizes = tiny_sizes();
  sizes.vocab = 256;
  const auto model = float_model(sizes);
  enlarge_weights(*model);
  return model;
}

TEST(Generate, IsAFunctionOfTheSeed) {
  const auto model = byte_model();
  const trainer::ByteTokenizer tokenizer;
  GenerateOptions options;
  options.max_tokens = 30;  // past the context of 16
  const std::string text = generate(*model, tokenizer, "ab", options);
  EXPECT_EQ(text.size(), 30u);
  at::manual_seed(5);
  EXPECT_EQ(generate(*model, tokenizer, "ab", options), text);
  options.seed = 1;
  EXPECT_NE(generate(*model, tokenizer, "ab", options), text);
}

TEST(Generate, AtTemperatureZeroOrTopOneTakesTheLikeliest) {
  const auto model = byte_model();
  const trainer::ByteTokenizer tokenizer;
  GenerateOptions options;
  options.max_tokens = 5;
  options.temperature = 0;
  const std::string text = generate(*model, tokenizer, "x", options);
  const at::Tensor read = at::tensor({int64_t{'x'}}, at::kLong).unsqueeze(0);
  EXPECT_EQ(static_cast<unsigned char>(text[0]), model->forward(read).logits[0][-1].argmax().item<int64_t>());
  options.temperature = 2;
  options.top_k = 1;
  EXPECT_EQ(generate(*model, tokenizer, "x", options), text);
}

TEST(Generate, DrawsByTheSoftmaxOfTheLogits) {
  const auto model = byte_model();
  const trainer::ByteTokenizer tokenizer;
  const at::Tensor read = at::tensor({int64_t{'x'}}, at::kLong).unsqueeze(0);
  const at::Tensor expected = at::softmax(model->forward(read).logits[0][-1], 0);
  GenerateOptions options;
  options.max_tokens = 1;
  std::vector<int> counts(256);
  constexpr int kDraws = 2000;
  for (int i = 0; i < kDraws; ++i) {
    options.seed = static_cast<std::uint64_t>(i);
    ++counts[static_cast<unsigned char>(generate(*model, tokenizer, "x", options)[0])];
  }
  for (std::size_t token = 0; token < 256; ++token) {
    const double p = expected[static_cast<std::int64_t>(token)].item<double>();
    EXPECT_NEAR(counts[token], kDraws * p, 5 * std::sqrt(kDraws * p) + 5) << "token " << token;
  }
}

TEST(Generate, StopsBeforeTheStopText) {
  const auto model = byte_model();
  const trainer::ByteTokenizer tokenizer;
  GenerateOptions options;
  options.max_tokens = 40;
  const std::string text = generate(*model, tokenizer, "x", options);
  options.stop = text.substr(10, 2);
  EXPECT_EQ(generate(*model, tokenizer, "x", options), text.substr(0, text.find(options.stop)));
}

TEST(Generate, RefusesNegativeSettings) {
  const auto model = byte_model();
  GenerateOptions options;
  options.temperature = -1;
  EXPECT_THROW(generate(*model, trainer::ByteTokenizer(), "x", options), std::invalid_argument);
}

// A vocabulary padded to a round number: the tokenizer has half of it.
TEST(Generate, DrawsNoTokenThatTheTokenizerHasNot) {
  trainer::ModelOptions sizes = tiny_sizes();
  sizes.vocab = 512;
  const auto model = float_model(sizes);
  enlarge_weights(*model);
  GenerateOptions options;
  options.max_tokens = 300;
  EXPECT_EQ(generate(*model, trainer::ByteTokenizer(), "ab", options).size(), 300u);
  sizes.vocab = 100;
  EXPECT_THAT(message_of([&] { generate(*float_model(sizes), trainer::ByteTokenizer(), "ab", options); }),
              testing::AllOf(testing::HasSubstr("256"), testing::HasSubstr("100")));
}

// Tokens are words, each after a space, of which a text's first is left out: SentencePiece's usual way.
class WordTokenizer final : public trainer::Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 16; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    if (!text.empty()) tokens.push_back(text.front() % 16);
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
      if (text[i] == ' ') tokens.push_back(text[i + 1] % 16);
    }
    return tokens;
  }
  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    for (const std::int32_t token : tokens) text.append({' ', static_cast<char>('a' + token)});
    return text.substr(std::min<std::size_t>(1, text.size()));
  }
  std::string to_bytes() const override { return "words"; }
};

TEST(Generate, KeepsTheSpaceAfterThePrompt) {
  const auto model = byte_model();
  GenerateOptions options;
  options.max_tokens = 3;
  const std::string text = generate(*model, WordTokenizer(), "a b", options);
  ASSERT_EQ(text.size(), 6u);
  EXPECT_EQ(text[0], ' ');
  EXPECT_EQ(generate(*model, WordTokenizer(), "", options).size(), 5u) << "a text of its own";
}

class Stories : public testing::Test {
 protected:
  void SetUp() override {
    const std::string model = read_whole(std::string(THINWIRE_SHARED_DATA) + "/stories260K.bin");
    const std::string tokenizer = read_whole(std::string(THINWIRE_SHARED_DATA) + "/tok512.bin");
    if (model.empty() || tokenizer.empty())
      GTEST_SKIP() << "no stories260K.bin and tok512.bin beside the project";
    model_ = stories_model(model);
    tokenizer_ = std::make_unique<StoriesTokenizer>(tokenizer);
  }

  double loss(const std::string& text) {
    const auto ids = tokenizer_->encode(text);
    const at::Tensor tokens = at::tensor(std::vector<std::int64_t>(ids.begin(), ids.end()), at::kLong);
    const at::NoGradGuard no_grad;
    const at::Tensor logits = model_->forward(tokens.narrow(0, 0, tokens.size(0) - 1).unsqueeze(0)).logits[0];
    return at::cross_entropy_loss(logits, tokens.narrow(0, 1, tokens.size(0) - 1)).item<double>();
  }

  std::shared_ptr<trainer::LanguageModel> model_;
  std::unique_ptr<StoriesTokenizer> tokenizer_;
};

constexpr char kStory[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, "
    "she saw "
    "a big, red ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to "
    "the "
    "park.\" Lily was sad and didn't know what to do. She said, \"I want to play with your ball, but I can't "
    "find "
    "it.\"";

// What llama2.c prints for this model at temperature 0.
TEST_F(Stories, TellsTheStoryThatLlama2cTells) {
  const std::string story = kStory;
  const std::string prompt = "Once upon a time";
  GenerateOptions options;
  options.temperature = 0;
  options.max_tokens = 165;
  const std::string told = prompt + generate(*model_, *tokenizer_, prompt, options);
  EXPECT_EQ(told.substr(0, story.size()), story);
}

TEST_F(Stories, IsSurprisedByOtherTextAndByTheOtherRotaryPairing) {
  const double own = loss(kStory);
  EXPECT_LT(own, 1.0);
  EXPECT_GT(loss("The federal committee rejected amendments concerning tax exempt municipal securities."),
            2 * own);
  const at::NoGradGuard no_grad;
  for (auto& item : model_->named_parameters()) {
    if (!item.key().ends_with(".q.weight") && !item.key().ends_with(".k.weight")) continue;
    // Rows 2i, 2i+1 of a head become i, i + D/2: Hugging Face's order.
    at::Tensor weight = item.value();
    weight.copy_(weight.view({-1, 4, 2, 64}).transpose(1, 2).reshape({-1, 64}).clone());
  }
  EXPECT_GT(loss(kStory), 1.5 * own);
}

}  // namespace
}  // namespace thinwire::test
