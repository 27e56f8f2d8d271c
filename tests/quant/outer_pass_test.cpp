// The fused passes give the bits of the separate steps, whatever the codec, the length and the threads.
#include "quant/codec/outer_pass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/codec/error_feedback.h"
#include "quant/kernel/target.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

using testing::bits_of;
using testing::normal_values;

// 8192: longer than a tile.
class OuterPass : public ::testing::TestWithParam<CodecOptions> {
 protected:
  std::vector<std::size_t> lengths() const { return {0, 1, block - 1, block, 1024 + 7, 3 * block + 5, 5000}; }
  const std::size_t block = GetParam().block;
  const std::unique_ptr<Codec> codec = make_codec(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Codecs, OuterPass, ::testing::ValuesIn(testing::codec_cases({8, 256, 8192})),
                         testing::case_name);

TEST_P(OuterPass, EncodesTheDeltaAndKeepsTheResidualOfTheSeparateSteps) {
  for (const std::size_t n : lengths()) {
    for (const float decay : {1.0f, 0.8f}) {
      ErrorFeedback separate(*codec, n, decay), fused(*codec, n, decay);
      std::vector<std::byte> expected(codec->encoded_bytes(n)), code(expected.size());
      for (std::uint64_t round = 0; round < 3; ++round) {
        const std::vector<float> agreed = normal_values(n, round), local = normal_values(n, round + 10);
        std::vector<float> delta(n);
        outer_delta(agreed, local, delta);
        separate.encode(delta, round, expected);
        ASSERT_EQ(fused.encode_delta(agreed, local, round, code), n);
        ASSERT_EQ(code, expected) << "n " << n << " round " << round;
        ASSERT_EQ(bits_of(fused.residual()), bits_of(separate.residual())) << "n " << n;
      }
    }
  }
}

TEST_P(OuterPass, EncodesTheDeltaAloneWithoutErrorFeedback) {
  for (const std::size_t n : lengths()) {
    const std::vector<float> agreed = normal_values(n, 1), local = normal_values(n, 2);
    std::vector<float> delta(n);
    outer_delta(agreed, local, delta);
    std::vector<std::byte> code(codec->encoded_bytes(n));
    ASSERT_EQ(encode_delta(*codec, {.agreed = agreed, .local = local}, 7, code), n);
    EXPECT_EQ(code, testing::encode(*codec, delta)) << "n " << n;
  }
}

// The mean of payloads over a longer span, of which the update covers a part.
TEST_P(OuterPass, AppliesTheMeanAsTheSeparateSteps) {
  for (const std::size_t n : lengths()) {
    for (const float alpha : {0.0f, 0.3f}) {
      const std::size_t whole = n + 2 * block;
      std::vector<std::vector<std::byte>> codes;
      std::vector<CodedValues> payloads;
      for (std::uint64_t worker = 0; worker < 3; ++worker)
        codes.push_back(testing::encode(*codec, normal_values(whole, 20 + worker)));
      for (const auto& code : codes) payloads.push_back({code, whole, 2 * block});
      std::vector<float> agreed = normal_values(n, 1), momentum = normal_values(n, 2),
                         local = normal_values(n, 3);
      std::vector<float> expected_agreed = agreed, expected_momentum = momentum, expected_local = local;

      std::vector<float> mean(n), own(n);
      codec->decode_range(whole, 2 * block, codes[0], mean);
      codec->decode_add_range(whole, 2 * block, codes[1], mean);
      codec->decode_add_range(whole, 2 * block, codes[2], mean);
      codec->decode_range(whole, 2 * block, codes[1], own);
      divide_in_place(mean, 3);
      const NesterovRule rule = {.lr = 0.7f, .momentum = 0.9f};
      nesterov_step(rule, mean, expected_momentum, expected_agreed);
      merge_into_local(alpha, expected_agreed, expected_local);

      const TileSums sums = apply_update(*codec, {.payloads = payloads,
                                                  .contributors = 3,
                                                  .rule = rule,
                                                  .alpha = alpha,
                                                  .agreed = agreed,
                                                  .momentum = momentum,
                                                  .local = local,
                                                  .own = &payloads[1]});
      ASSERT_EQ(bits_of(agreed), bits_of(expected_agreed)) << "n " << n;
      ASSERT_EQ(bits_of(momentum), bits_of(expected_momentum)) << "n " << n;
      ASSERT_EQ(bits_of(local), bits_of(expected_local)) << "n " << n;
      const TileSums alone = measure(*codec, payloads[1], mean);
      EXPECT_EQ(alone.own_square, sums.own_square);
      EXPECT_EQ(alone.mean_square, sums.mean_square);
      EXPECT_EQ(alone.product, sums.product);
      double own_square = 0, mean_square = 0, product = 0;
      for (std::size_t i = 0; i < n; ++i) {
        own_square += static_cast<double>(own[i]) * own[i];
        mean_square += static_cast<double>(mean[i]) * mean[i];
        product += static_cast<double>(own[i]) * mean[i];
      }
      EXPECT_NEAR(sums.own_square, own_square, 1e-12 * own_square);
      EXPECT_NEAR(sums.mean_square, mean_square, 1e-12 * mean_square);
      EXPECT_NEAR(sums.product, product, 1e-12 * std::sqrt(own_square * mean_square));
    }
  }
}

// Blocks whose scales are usual, too small or too large for the fast divisors, or 0.
TEST_P(OuterPass, EncodesDeltasOfAnySize) {
  constexpr float kSizes[] = {1e-3f, 0, 1e-25f, 1e-41f, 1e25f, 1};
  const std::size_t n = 6 * block;
  std::vector<float> agreed = normal_values(n, 1), delta(n);
  for (std::size_t i = 0; i < n; ++i) agreed[i] *= kSizes[i / block];
  const std::vector<float> local(n);
  ErrorFeedback separate(*codec, n), fused(*codec, n);
  std::vector<std::byte> expected(codec->encoded_bytes(n)), code(expected.size());
  for (std::uint64_t round = 0; round < 3; ++round) {
    outer_delta(agreed, local, delta);
    separate.encode(delta, round, expected);
    ASSERT_EQ(fused.encode_delta(agreed, local, round, code), n);
    ASSERT_EQ(code, expected) << "round " << round;
    ASSERT_EQ(bits_of(fused.residual()), bits_of(separate.residual())) << "round " << round;
  }
}

TEST(OuterPassTargets, GiveTheSameBits) {
  const std::size_t n = 4000;
  for (const CodecOptions& options : testing::codec_cases({256})) {
    std::vector<std::vector<float>> results;
    for (const Target target : compiled_targets()) {
      if (!is_supported(target)) continue;
      const ForcedTarget guard(target);
      const auto codec = make_codec(options);
      std::vector<float> residual = normal_values(n, 1, 1e-3f), agreed = normal_values(n, 2),
                         local = normal_values(n, 3), momentum = normal_values(n, 4);
      std::vector<std::byte> code(codec->encoded_bytes(n));
      ASSERT_EQ(encode_delta(*codec, {agreed, local, residual, 0.9f}, 1, code), n);
      const CodedValues payload = {code, n, 0};
      apply_update(
          *codec,
          {.payloads = {&payload, 1}, .alpha = 0.4f, .agreed = agreed, .momentum = momentum, .local = local});
      for (const auto& more : {agreed, momentum, local})
        residual.insert(residual.end(), more.begin(), more.end());
      results.push_back(residual);
    }
    for (const auto& result : results) EXPECT_EQ(bits_of(result), bits_of(results[0])) << options.name;
  }
}

TEST(OuterPassLocal, MayBeLeftOut) {
  const auto codec = make_codec({.name = "int4"});
  const std::size_t n = 3000;
  const std::vector<std::byte> code = testing::encode(*codec, normal_values(n, 1));
  const CodedValues payload = {code, n, 0};
  std::vector<float> agreed = normal_values(n, 2), momentum = normal_values(n, 3), local(n);
  std::vector<float> agreed_alone = agreed, momentum_alone = momentum;
  apply_update(*codec, {.payloads = {&payload, 1}, .agreed = agreed, .momentum = momentum, .local = local});
  apply_update(
      *codec, {.payloads = {&payload, 1}, .alpha = 0.5f, .agreed = agreed_alone, .momentum = momentum_alone});
  EXPECT_EQ(bits_of(agreed_alone), bits_of(agreed));
  EXPECT_EQ(bits_of(momentum_alone), bits_of(momentum));
}

TEST(OuterPassNan, IsFoundWhereItIsFirst) {
  const auto codec = make_codec({.name = "int8"});
  const std::size_t n = 5000;
  std::vector<std::byte> code(codec->encoded_bytes(n));
  for (const std::size_t at : {0, 255, 256, 1023, 1024, 4863, 4864, 4999}) {
    std::vector<float> agreed(n, 1.0f), local(n, 0.5f);
    local[at] = std::nanf("");
    local[n - 1] = std::nanf("");
    EXPECT_EQ(encode_delta(*codec, {.agreed = agreed, .local = local}, 0, code), at);
    local[at] = agreed[at] = INFINITY;  // their difference is NaN
    ErrorFeedback feedback(*codec, n);
    EXPECT_EQ(feedback.encode_delta(agreed, local, 0, code), at);
  }
}

TEST(OuterPassArguments, RefuseOtherLengthsAndNoPayload) {
  const auto codec = make_codec({.name = "int8"});
  std::vector<float> three(3), four(4);
  std::vector<std::byte> code(codec->encoded_bytes(3));
  EXPECT_THROW((void)encode_delta(*codec, {.agreed = three, .local = four}, 0, code), std::invalid_argument);
  EXPECT_THROW((void)encode_delta(*codec, {three, three, four}, 0, code), std::invalid_argument);
  EXPECT_THROW((void)ErrorFeedback(*codec, 4).encode_delta(three, three, 0, code), std::invalid_argument);
  EXPECT_THROW(apply_update(*codec, {.agreed = three, .momentum = three, .local = three}),
               std::invalid_argument);
  const CodedValues payload = {code, 3, 0};
  EXPECT_THROW(
      apply_update(*codec, {.payloads = {&payload, 1}, .agreed = three, .momentum = four, .local = three}),
      std::invalid_argument);
}

}  // namespace
}  // namespace thinwire::quant
