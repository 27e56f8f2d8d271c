// The rule of the residual, with plain arithmetic beside it.
#include "quant/codec/error_feedback.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

using testing::bits_of;
using testing::decode;
using testing::encode;
using testing::normal_values;

// e <- decay e + delta;  q = Q(e);  e <- e - q
void expect_rule(const CodecOptions& options, float decay) {
  constexpr std::size_t kValues = 2 * 4096 + 5;
  const auto codec = make_codec(options);
  ErrorFeedback feedback(*codec, kValues, decay);
  std::vector<float> e(kValues, 0.0f);
  std::vector<std::byte> code(codec->encoded_bytes(kValues));
  for (std::uint64_t round = 0; round < 6; ++round) {
    std::vector<float> delta = normal_values(kValues, 50 + round, 0.01f);
    for (std::size_t i = 0; i < kValues; ++i) e[i] = delta[i] + decay * e[i];
    const std::vector<std::byte> expected = encode(*codec, e, round);
    const std::vector<float> q = decode(*codec, expected, kValues);
    for (std::size_t i = 0; i < kValues; ++i) e[i] -= q[i];

    feedback.encode(delta, round, code);
    ASSERT_EQ(code, expected) << "round " << round;
    ASSERT_EQ(bits_of(feedback.residual()), bits_of(e)) << "round " << round;
  }
}

TEST(ErrorFeedback, FollowsTheRuleOfMuLoCo) {
  expect_rule({.name = "int2"}, 0.9f);
  expect_rule({.name = "int2", .rotate = true}, 0.9f);
}

TEST(ErrorFeedback, FollowsTheRuleOfSparseLoCo) {
  expect_rule({.name = "topk"}, 0.95f);
}

TEST(ErrorFeedback, CodesInRangesOfAnyOrderWhatItCodesAtOnce) {
  constexpr std::size_t kValues = 2 * 4096 + 5;
  for (const std::string& name : codec_names())
    for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
      const auto codec = make_codec({.name = name, .rounding = rounding, .k = 256});
      ErrorFeedback at_once(*codec, kValues, 0.9f), in_ranges(*codec, kValues, 0.9f);
      std::vector<std::byte> expected(codec->encoded_bytes(kValues)), code(expected.size());
      for (std::uint64_t round = 0; round < 3; ++round) {
        std::vector<float> delta = normal_values(kValues, 70 + round), same = delta;
        at_once.encode(delta, round, expected);
        for (const std::size_t first : {std::size_t{4096}, std::size_t{8192}, std::size_t{0}}) {
          const std::size_t count = std::min<std::size_t>(4096, kValues - first);
          in_ranges.encode_range(first, std::span(same).subspan(first, count), round, code);
        }
        ASSERT_EQ(code, expected) << name << " round " << round;
        ASSERT_EQ(bits_of(in_ranges.residual()), bits_of(at_once.residual())) << name << " round " << round;
      }
    }
}

// Under a steady delta every value's turn comes, however small, as what is dropped adds up.
TEST(ErrorFeedback, SendsInTimeWhatASparseCodecDrops) {
  const auto codec = make_codec({.name = "topk"});
  const std::vector<float> delta = normal_values(4096, 3);
  ErrorFeedback feedback(*codec, 4096);
  std::vector<std::byte> code(codec->encoded_bytes(4096));
  std::vector<float> sum(4096, 0.0f);
  constexpr int kRounds = 1000;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<float> value = delta;
    feedback.encode(value, 0, code);
    codec->decode_add(code, sum);
  }
  for (std::size_t i = 0; i < 4096; ++i) ASSERT_NEAR(sum[i] / kRounds, delta[i], 0.1) << "value " << i;
}

TEST(ErrorFeedback, DecaysTheResidual) {
  const auto codec = make_codec({.name = "int4", .block = 8});
  ErrorFeedback feedback(*codec, 8, 0.5f);
  std::vector<float> value = {7.0f, 0.4f, 0, 0, 0, 0, 0, 0};
  std::vector<std::byte> code(codec->encoded_bytes(8));
  feedback.encode(value, 0, code);
  EXPECT_EQ(feedback.residual()[1], 0.4f);
  value = {7.0f, 1.0f, 0, 0, 0, 0, 0, 0};
  feedback.encode(value, 0, code);
  EXPECT_EQ(value[1], 1.0f + 0.5f * 0.4f);
}

TEST(ErrorFeedback, SendsASteadyValueInFullOverManyRounds) {
  // 0.3 of a step is never sent alone; with feedback the mean of what was sent approaches it.
  for (const char* name : {"int2", "ternary", "sign", "e3m0", "int4"}) {
    const auto codec = make_codec({.name = name, .block = 64});
    const std::vector<float> delta = normal_values(64, 3);
    ErrorFeedback feedback(*codec, 64);
    std::vector<std::byte> code(codec->encoded_bytes(64));
    std::vector<float> sum(64, 0.0f);
    constexpr int kRounds = 400;
    for (int round = 0; round < kRounds; ++round) {
      std::vector<float> value = delta;
      feedback.encode(value, 0, code);
      codec->decode_add(code, sum);
    }
    for (std::size_t i = 0; i < 64; ++i)
      EXPECT_NEAR(sum[i] / kRounds, delta[i], 0.3) << name << " value " << i;
  }
}

TEST(ErrorFeedback, RefusesAnotherLengthAndAnImpossibleDecay) {
  const auto codec = make_codec({.name = "int8"});
  EXPECT_THROW(ErrorFeedback(*codec, 4, 1.5f), std::invalid_argument);
  EXPECT_THROW(ErrorFeedback(*codec, 4, std::nanf("")), std::invalid_argument);
  ErrorFeedback feedback(*codec, 4);
  std::vector<float> delta(5);
  std::vector<std::byte> code(codec->encoded_bytes(5));
  EXPECT_THROW(feedback.encode(delta, 0, code), std::invalid_argument);
  EXPECT_THROW(feedback.encode_range(0, delta, 0, code), std::invalid_argument);
  for (const std::size_t first : {std::size_t{8}, ~std::size_t{0}})  // the last: its end would count as 4
    EXPECT_THROW(feedback.encode_range(first, delta, 0, code), std::invalid_argument);
  EXPECT_THROW(feedback.encode_range(8, std::span(delta).first(1), 0, code), std::invalid_argument);
}

}  // namespace
}  // namespace thinwire::quant
