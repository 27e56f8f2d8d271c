// Laws that every codec keeps, over lengths around a block.
#include "quant/codec/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "quant/codec/error_feedback.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

using testing::awkward_values;
using testing::bits_of;
using testing::decode;
using testing::encode;
using testing::normal_values;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<std::size_t> lengths_around(std::size_t block) {
  return {0, 1, 2, 7, block - 1, block, block + 1, 2 * block + 3, 1009};
}

// Laws of the payload, rotated or not.
class EveryPayload : public ::testing::TestWithParam<CodecOptions> {
 protected:
  std::unique_ptr<Codec> codec = make_codec(GetParam());
  const std::size_t block = GetParam().block;
  const bool nearest = GetParam().rounding == Rounding::kNearest;
  bool is(const char* name) const { return GetParam().name == name; }
};

INSTANTIATE_TEST_SUITE_P(Codecs, EveryPayload,
                         ::testing::ValuesIn(testing::cases_rotated_or_not({8, 64, 256})),
                         testing::case_name);

// Laws of what values become, in their own places.
class EveryCodec : public EveryPayload {};
INSTANTIATE_TEST_SUITE_P(Codecs, EveryCodec, ::testing::ValuesIn(testing::codec_cases({8, 64, 256})),
                         testing::case_name);

// Laws of codecs that code every value; those of topk are in topk_codec_test.cpp.
class DenseCodec : public EveryPayload {};
INSTANTIATE_TEST_SUITE_P(Codecs, DenseCodec, ::testing::ValuesIn(testing::dense_cases({8, 64, 256})),
                         testing::case_name);

std::vector<CodecOptions> dense_cases_with(Rounding rounding) {
  std::vector<CodecOptions> cases = testing::dense_cases({8, 64, 256});
  std::erase_if(cases, [&](const CodecOptions& options) { return options.rounding != rounding; });
  return cases;
}

class NearestCodec : public EveryPayload {};
INSTANTIATE_TEST_SUITE_P(Codecs, NearestCodec, ::testing::ValuesIn(dense_cases_with(Rounding::kNearest)),
                         testing::case_name);

class StochasticCodec : public EveryPayload {};
INSTANTIATE_TEST_SUITE_P(Codecs, StochasticCodec,
                         ::testing::ValuesIn(dense_cases_with(Rounding::kStochastic)), testing::case_name);

// Of the default k, 64: one value in 64 is kept.
std::size_t topk_bytes(std::size_t n) {
  const auto of_chunk = [](std::size_t m) {
    const std::size_t kept = (m + 63) / 64;
    return (3 * kept + 1) / 2 + (kept + 3) / 4;
  };
  return 4 * ((n + 4095) / 4096) + n / 4096 * of_chunk(4096) + of_chunk(n % 4096);
}

std::size_t bytes_by_formula(const std::string& name, std::size_t n, std::size_t block) {
  if (name == "fp32") return 4 * n;
  if (name == "bf16") return 2 * n;
  if (name == "topk") return topk_bytes(n);
  const std::size_t scales = 4 * ((n + block - 1) / block);
  if (name == "ternary") return scales + n / block * ((block + 4) / 5) + (n % block + 4) / 5;
  const std::size_t bits = name == "sign"                                       ? 1
                           : name == "int2"                                     ? 2
                           : name == "int8" || name == "e4m3" || name == "e5m2" ? 8
                                                                                : 4;
  return scales + (n * bits + 7) / 8;
}

TEST_P(EveryPayload, TakesTheBytesOfTheFormula) {
  for (const std::size_t n : lengths_around(block)) {
    EXPECT_EQ(codec->encoded_bytes(n), bytes_by_formula(GetParam().name, n, block)) << "n " << n;
  }
}

TEST_P(DenseCodec, GivesTheSameCodeForADecodedTensor) {
  for (const std::size_t n : lengths_around(block)) {
    const std::vector<float> values = normal_values(n, n);
    const std::vector<std::byte> code = encode(*codec, values);
    EXPECT_EQ(encode(*codec, decode(*codec, code, n), 8), code) << "n " << n;
  }
}

TEST_P(EveryPayload, CodesRangesAsTheWhole) {
  const std::size_t n = 5 * block + 3;
  const std::vector<float> values = normal_values(n, 5);
  const std::vector<std::byte> whole = encode(*codec, values);
  const std::vector<float> decoded = decode(*codec, whole, n);
  std::vector<std::byte> code(whole.size(), std::byte{0x5a});
  std::vector<float> pieces(n), sum(n, 1.0f), expected_sum(n, 1.0f);
  codec->decode_add(whole, expected_sum);
  // Backwards, so that a range that writes past its end is seen.
  const std::vector<std::size_t> borders = {0, 2 * block, 3 * block, n};
  for (std::size_t i = borders.size() - 1; i-- > 0;) {
    const std::size_t first = borders[i], count = borders[i + 1] - first;
    codec->encode_range(n, first, std::span(values).subspan(first, count), 7, code);
    codec->decode_range(n, first, whole, std::span(pieces).subspan(first, count));
    codec->decode_add_range(n, first, whole, std::span(sum).subspan(first, count));
  }
  EXPECT_EQ(code, whole);
  EXPECT_EQ(bits_of(pieces), bits_of(decoded));
  EXPECT_EQ(bits_of(sum), bits_of(expected_sum));
  EXPECT_THROW(codec->encode_range(n, 4, std::span(values).first(block), 7, code), std::invalid_argument);
  EXPECT_THROW(codec->decode_range(n, block, whole, std::span(pieces).first(4)), std::invalid_argument);
}

TEST_P(EveryPayload, DecodeAddIsDecodeAndOneAddition) {
  for (const std::size_t n : lengths_around(block)) {
    const std::vector<std::byte> code = encode(*codec, awkward_values(n, n));
    const std::vector<float> decoded = decode(*codec, code, n);
    std::vector<float> sum = normal_values(n, n + 1);
    std::vector<float> expected = sum;
    for (std::size_t i = 0; i < n; ++i) expected[i] += decoded[i];
    codec->decode_add(code, sum);
    EXPECT_EQ(bits_of(sum), bits_of(expected)) << "n " << n;
  }
}

TEST_P(EveryPayload, ScalesWithPowersOfTwo) {
  const std::vector<float> values = normal_values(3 * block + 5, 3);
  const std::vector<float> decoded = decode(*codec, encode(*codec, values), values.size());
  for (const int exponent : {-60, -3, 1, 60}) {
    std::vector<float> scaled = values;
    for (float& value : scaled) value = std::ldexp(value, exponent);
    std::vector<float> expected = decoded;
    for (float& value : expected) value = std::ldexp(value, exponent);
    EXPECT_EQ(bits_of(decode(*codec, encode(*codec, scaled), scaled.size())), bits_of(expected)) << exponent;
  }
}

TEST_P(EveryPayload, ReadsAndWritesMisalignedSpans) {
  const std::size_t n = 2 * block + 9;
  const std::vector<float> values = normal_values(n, 5);
  const std::vector<std::byte> code = encode(*codec, values);
  for (const std::size_t shift : {1, 2, 3}) {
    std::vector<float> shifted(n + shift);
    std::copy(values.begin(), values.end(), shifted.begin() + static_cast<std::ptrdiff_t>(shift));
    std::vector<std::byte> bytes(code.size() + shift);
    codec->encode(std::span(shifted).subspan(shift), 7, std::span(bytes).subspan(shift));
    EXPECT_TRUE(std::equal(code.begin(), code.end(), bytes.begin() + static_cast<std::ptrdiff_t>(shift)));
    codec->decode(std::span(bytes).subspan(shift), std::span(shifted).subspan(shift));
    EXPECT_EQ(bits_of(std::span(shifted).subspan(shift)), bits_of(decode(*codec, code, n)));
  }
}

TEST_P(EveryPayload, RefusesACodeOfAnotherSize) {
  std::vector<float> values(10);
  std::vector<std::byte> code(codec->encoded_bytes(10) + 1);
  EXPECT_THROW(codec->encode(values, 0, code), std::invalid_argument);
  EXPECT_THROW(codec->decode(code, values), std::invalid_argument);
  EXPECT_THROW(codec->decode_add(code, values), std::invalid_argument);
}

TEST_P(EveryPayload, DecodesAZeroBlockToPositiveZeros) {
  std::vector<float> values(block + 3, 0.0f);
  if (!is("fp32") && !is("bf16")) values[1] = -0.0f;
  const std::vector<float> decoded = decode(*codec, encode(*codec, values), values.size());
  EXPECT_EQ(bits_of(decoded), std::vector<std::uint32_t>(values.size(), 0u));
}

TEST_P(EveryCodec, CodesABlockOfDenormalsAsZerosIfItScales) {
  const std::vector<float> values(block, 0x1.8p-130f);
  const std::vector<float> decoded = decode(*codec, encode(*codec, values), values.size());
  const float expected = is("fp32") || is("bf16") ? 0x1.8p-130f : 0.0f;
  for (const float value : decoded) EXPECT_EQ(value, expected);
}

TEST_P(NearestCodec, KeepsAConstantBlockWithinTheScalesPrecision) {
  for (const float constant : {-2.5f, 1.0f / 3.0f}) {
    const std::vector<float> values(block, constant);
    for (const float value : decode(*codec, encode(*codec, values), block)) {
      EXPECT_NEAR(value, constant, std::fabs(constant) * 0x1p-8f);
    }
  }
}

TEST_P(EveryCodec, SaturatesInfinitiesIfItScales) {
  std::vector<float> values = normal_values(block, 9);
  values[2] = kInfinity;
  values[5] = -kInfinity;
  const std::vector<float> decoded = decode(*codec, encode(*codec, values), block);
  if (is("fp32") || is("bf16")) {
    EXPECT_EQ(decoded[2], kInfinity);
    EXPECT_EQ(decoded[5], -kInfinity);
    return;
  }
  for (const float value : decoded) EXPECT_LE(std::fabs(value), 0x1p101f);
  EXPECT_GT(decoded[2], 0.0f);
  EXPECT_LT(decoded[5], 0.0f);
}

TEST_P(EveryPayload, SurvivesNaN) {
  std::vector<float> values = normal_values(2 * block + 1, 4);
  values[1] = values[block] = values[2 * block] = std::numeric_limits<float>::quiet_NaN();
  decode(*codec, encode(*codec, values), values.size());
  std::fill(values.begin(), values.end(), -std::numeric_limits<float>::quiet_NaN());
  decode(*codec, encode(*codec, values), values.size());
}

TEST_P(EveryPayload, DecodesAnyBytes) {
  std::mt19937_64 generator(11);
  for (const std::size_t n : lengths_around(block)) {
    std::vector<std::byte> code(codec->encoded_bytes(n));
    for (int round = 0; round < 20; ++round) {
      for (std::byte& byte : code) byte = static_cast<std::byte>(generator());
      std::vector<float> sum = decode(*codec, code, n);
      codec->decode_add(code, sum);
    }
  }
}

TEST_P(EveryPayload, DependsOnTheKeyOnlyIfStochastic) {
  const std::vector<float> values = normal_values(4 * block, 21);
  const bool equal = encode(*codec, values, 1) == encode(*codec, values, 2);
  EXPECT_EQ(equal, nearest || is("fp32"));
  EXPECT_EQ(encode(*codec, values, 3), encode(*codec, values, 3));
}

// Largest error of a value x in a block of scale s, as the codec's header states it.
float error_bound(const CodecOptions& options, float x, float s, float largest) {
  const float steps = options.rounding == Rounding::kNearest ? 0.5f : 1.0f;
  const float a = std::fabs(x);
  const std::string& name = options.name;
  if (name == "fp32") return 0;
  if (name == "bf16") return steps * 0x1p-8f * a * 2;
  if (name == "int8" || name == "int4") return steps * s;
  if (name == "nf4") return steps * 0.30390f * s;
  if (name == "e4m3") return steps * std::max(a * 0x1p-3f, s * 0x1p-9f);
  if (name == "e5m2") return steps * std::max(a * 0x1p-2f, s * 0x1p-16f);
  if (name == "e2m1") return steps * std::max(a * 0x1p-1f, s * 0.5f);
  if (name == "e3m0") return options.rounding == Rounding::kNearest ? std::max(a / 3, s / 2) : std::max(a, s);
  const float top = name == "int2" ? 3 : 1;
  if (options.rounding == Rounding::kStochastic) return name == "ternary" ? s : 2 * s;
  if (name == "sign") return std::fabs(a - s);
  return std::max(name == "int2" ? s : s / 2, largest - top * s);
}

TEST_P(DenseCodec, KeepsItsErrorBound) {
  const std::size_t n = 20 * block;
  std::vector<float> values = normal_values(n, 17);
  for (std::size_t i = 0; i < n; ++i) values[i] = std::ldexp(values[i], static_cast<int>(i % 12) - 6);
  const std::vector<std::byte> code = encode(*codec, values);
  const std::vector<float> decoded = decode(*codec, code, n);
  for (std::size_t i = 0; i < n; ++i) {
    float scale = 0;
    const std::size_t first = i / block * block;
    if (!is("fp32") && !is("bf16")) std::memcpy(&scale, code.data() + 4 * (i / block), 4);
    float largest = 0;
    for (std::size_t j = first; j < first + block; ++j) largest = std::max(largest, std::fabs(values[j]));
    // A few float32 roundings on the way: the division, the product, and the comparison here.
    const float bound = error_bound(GetParam(), values[i], scale, largest) + 0x1p-22f * largest;
    ASSERT_LE(std::fabs(decoded[i] - values[i]), bound) << "value " << i << " = " << values[i];
  }
}

TEST_P(StochasticCodec, IsUnbiased) {
  constexpr int kRounds = 4000;
  const std::vector<float> values = normal_values(block, 31);
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  float scale = 0;
  if (!is("fp32") && !is("bf16")) std::memcpy(&scale, encode(*codec, values).data(), 4);
  std::vector<double> sum(block), squares(block);
  for (int round = 0; round < kRounds; ++round) {
    const auto key = stream_key({.seed = 5, .step = static_cast<std::uint64_t>(round)});
    const std::vector<float> decoded = decode(*codec, encode(*codec, values, key), block);
    for (std::size_t i = 0; i < block; ++i) {
      const double error = static_cast<double>(decoded[i]) - values[i];
      sum[i] += error;
      squares[i] += error * error;
    }
  }
  for (std::size_t i = 0; i < block; ++i) {
    // Five standard errors; ten draws that are too rare for the deviation to show them; the stated bias.
    const double deviation = std::sqrt(squares[i] / kRounds);
    const double step = error_bound(GetParam(), values[i], scale, largest);
    const double bias = (is("int8") || is("int4") ? 0x1p-15 : 0x1p-17) * step;
    const double allowed = 5 * deviation / std::sqrt(kRounds) + 10 * step / kRounds + bias;
    EXPECT_LE(std::fabs(sum[i] / kRounds), allowed) << "value " << i << " = " << values[i];
  }
}

TEST_P(EveryCodec, SentPlusResidualIsTheValue) {
  const std::size_t n = 3 * block + 5;
  ErrorFeedback feedback(*codec, n);
  std::vector<std::byte> code(codec->encoded_bytes(n));
  std::vector<float> residual(n, 0.0f);
  for (std::uint64_t round = 0; round < 5; ++round) {
    const std::vector<float> delta = normal_values(n, 100 + round);
    std::vector<float> value = delta;
    feedback.encode(value, round, code);
    const std::vector<float> sent = decode(*codec, code, n);
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(value[i], delta[i] + residual[i]);
      ASSERT_EQ(feedback.residual()[i], value[i] - sent[i]);
      if (nearest && !is("int2") && !is("sign")) {
        ASSERT_EQ(sent[i] + feedback.residual()[i], value[i]) << "value " << i;
      }
    }
    residual.assign(feedback.residual().begin(), feedback.residual().end());
  }
}

TEST(Registry, NamesTheCodecsAndGivesEachItsNumber) {
  std::vector<std::pair<std::string, int>> found;
  for (const std::string& name : codec_names()) {
    const auto codec = make_codec({.name = name});
    EXPECT_EQ(codec->name(), name);
    found.emplace_back(name, codec->wire_id());
  }
  const std::vector<std::pair<std::string, int>> expected = {
      {"fp32", 1}, {"bf16", 2}, {"e4m3", 3},  {"e5m2", 4},     {"int8", 5},  {"int4", 6}, {"int2", 7},
      {"nf4", 8},  {"e2m1", 9}, {"e3m0", 10}, {"ternary", 11}, {"sign", 12}, {"topk", 13}};
  EXPECT_EQ(found, expected);
}

TEST(Registry, RefusesUnknownNamesAndBlocks) {
  EXPECT_THAT(
      [] { make_codec({.name = "int3"}); },
      ::testing::ThrowsMessage<std::invalid_argument>("unknown codec 'int3'; known codecs: fp32 bf16 e4m3 "
                                                      "e5m2 int8 int4 int2 nf4 e2m1 e3m0 ternary sign topk"));
  for (const std::size_t block : {0, 12, 1 << 21}) {
    EXPECT_THROW(make_codec({.name = "int8", .block = block}), std::invalid_argument) << block;
  }
}

TEST(FindNan, GivesTheFirstOrTheLength) {
  std::vector<float> values(1000, 1.0f);
  values[3] = kInfinity;
  EXPECT_EQ(find_nan(values), 1000u);
  values[999] = std::nanf("");
  EXPECT_EQ(find_nan(values), 999u);
  values[17] = -std::nanf("");
  EXPECT_EQ(find_nan(values), 17u);
  EXPECT_EQ(find_nan({}), 0u);
}

TEST(StreamKey, DiffersInEveryPart) {
  const std::vector<StreamPosition> positions = {
      {}, {.seed = 1}, {.step = 1}, {.worker = 1}, {.fragment = 1}, {.leg = 1}};
  std::vector<std::uint64_t> keys;
  for (const StreamPosition& position : positions) keys.push_back(stream_key(position));
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::unique(keys.begin(), keys.end()), keys.end());
}

}  // namespace
}  // namespace thinwire::quant
