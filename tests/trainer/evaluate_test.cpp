#include "trainer/evaluate.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

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

TEST(Evaluate, EveryTokenButASourcesFirstIsATargetOnce) {
  for (const std::size_t length : {2, 16, 17, 18, 500}) {
    const auto text = whole_text({{"one", some_text(length)}, {"two", "ab"}, {"three", "x"}}, *bytes(), 16);
    std::int64_t targets = 0;
    std::string seen;
    for (const Batch& batch : text.batches) {
      targets += batch.targets.numel();
      const at::Tensor flat = batch.targets.flatten();
      for (std::int64_t i = 0; i < flat.numel(); ++i) seen += static_cast<char>(flat[i].item<std::int64_t>());
    }
    EXPECT_EQ(targets, static_cast<std::int64_t>(length)) << length;
    EXPECT_EQ(seen, some_text(length).substr(1) + "b");
    EXPECT_EQ(text.bytes_per_token, 1.0);
  }
}

TEST(Evaluate, AModelThatKnowsNothingNeedsTheLogarithmOfTheVocabulary) {
  const auto model = tiny_model();
  const torch::NoGradGuard no_grad;
  for (at::Tensor parameter : model->parameters()) parameter.zero_();
  const Evaluation evaluation = evaluate(*model, whole_text({{"one", some_text(100)}}, *bytes(), 16));
  EXPECT_EQ(evaluation.tokens, 99);
  EXPECT_NEAR(evaluation.loss, std::log(256.0), 1e-6);
  EXPECT_NEAR(evaluation.perplexity, 256, 1e-3);
  EXPECT_NEAR(evaluation.bits_per_byte, 8, 1e-5);
}

TEST(Evaluate, FewerBytesInATokenCostMoreBitsInAByte) {
  const auto model = tiny_model();
  EvaluationText text = whole_text({{"one", some_text(100)}}, *bytes(), 16);
  const double bits = evaluate(*model, text).bits_per_byte;
  text.bytes_per_token = 0.5;
  EXPECT_DOUBLE_EQ(evaluate(*model, text).bits_per_byte, 2 * bits);
}

TEST(Evaluate, TextWithoutATargetIsRefused) {
  EXPECT_THROW(whole_text({{"one", "x"}}, *bytes(), 16), std::runtime_error);
}

}  // namespace
}  // namespace thinwire::trainer
