// What docs/wire_format.md says beside the rules of decoding: errors, special values, what comes back as it
// was. Over inputs that are no bell curve: blocks of equal values, denormals, any bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "quant/codec/error_feedback.h"
#include "quant/codec/minifloat_rule.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/hex.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

using testing::awkward_values;
using testing::bits_of;
using testing::decode;
using testing::encode;
using testing::normal_values;

constexpr Rounding kBoth[] = {Rounding::kNearest, Rounding::kStochastic};

const std::vector<std::string>& scaled_names() {
  static const std::vector<std::string> names = {"e4m3", "e5m2", "int8", "int4",    "int2",
                                                 "nf4",  "e2m1", "e3m0", "ternary", "sign"};
  return names;
}

float top_of(const std::string& name) {
  static const std::map<std::string, float> tops = {
      {"e4m3", 448}, {"e5m2", 57344}, {"int8", 127}, {"int4", 7},    {"int2", 3},
      {"nf4", 1},    {"e2m1", 6},     {"e3m0", 64},  {"ternary", 1}, {"sign", 1}};
  return tops.at(name);
}

std::unique_ptr<Codec> codec_of(const std::string& name, Rounding rounding = Rounding::kNearest,
                                std::size_t block = 64) {
  return make_codec({.name = name, .block = block, .rounding = rounding});
}

float scale_in(std::span<const std::byte> code, std::size_t block = 0) {
  float scale;
  std::memcpy(&scale, code.data() + 4 * block, sizeof scale);
  return scale;
}

float largest_of(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

// Of one sort in turn: a bell curve, awkward ones, any bits, values about the least scale, two magnitudes in
// every proportion.
std::vector<float> hostile_values(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<float> values = normal_values(n, seed);
  if (seed % 5 == 1) return awkward_values(n, seed);
  for (float& value : values) {
    if (seed % 5 == 2) {
      value = std::bit_cast<float>(static_cast<std::uint32_t>(generator()));
      if (std::isnan(value)) value = 1;
    } else if (seed % 5 == 3) {
      value = std::ldexp(value, static_cast<int>(seed % 19) - 128);
    } else if (seed % 5 == 4) {
      value = std::copysign(generator() % 20 < seed % 21 ? 1.0f : 0.3f, value);
    }
  }
  return values;
}

// Whether the page promises that a block's payload comes back when its decoded values are encoded.
bool comes_back(const CodecOptions& options, float scale, std::span<const float> decoded) {
  if (options.name == "fp32" || options.name == "bf16" || scale == 0) return true;
  if (options.rounding == Rounding::kStochastic) return largest_of(decoded) == top_of(options.name) * scale;
  if (options.name != "int2") return true;
  const auto num_high = std::ranges::count_if(decoded, [&](float x) { return std::fabs(x) > 2 * scale; });
  return 10 * static_cast<std::size_t>(num_high) < 7 * decoded.size();
}

TEST(WirePage, ADecodedPayloadComesBackWhereThePageSaysSo) {
  for (const CodecOptions& options : testing::dense_cases({8, 64, 256, 1024})) {
    const auto codec = make_codec(options);
    const bool nearest = options.rounding == Rounding::kNearest;
    const bool has_small = options.name == "e4m3" || options.name == "e5m2";
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      const std::size_t n = options.block - seed % 2 * (seed % 7);
      const std::vector<std::byte> code = encode(*codec, hostile_values(n, seed), seed);
      const std::vector<float> decoded = decode(*codec, code, n);
      if (options.name == "int2" && largest_of(decoded) > 0x1p100f) continue;  // limited the next time
      if (!nearest && has_small && scale_in(code) < 0x1p-118f) continue;       // products that are rounded
      const bool expected = comes_back(options, scale_in(code), decoded);
      ASSERT_EQ(encode(*codec, decoded, seed + 1000) == code, expected)
          << ::testing::PrintToString(options) << " seed " << seed << " scale " << scale_in(code);
    }
  }
}

TEST(WirePage, Int2OfManyLargeValuesDoesNotComeBack) {
  const auto codec = codec_of("int2", Rounding::kNearest, 8);
  const std::vector<float> once =
      decode(*codec, encode(*codec, std::vector<float>{1, 1, 1, 1, 1, 1, 0, 0}), 8);
  const std::vector<float> twice = decode(*codec, encode(*codec, once), 8);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(once[i], i < 6 ? 0.9643f : 0.3214f, 1e-4f);
    EXPECT_NEAR(twice[i], 0.8036f, 1e-4f);
  }
}

// The largest value may round below the top, and then the scale of what was decoded is another.
TEST(WirePage, AStochasticRangeScaleMayLoseItsTop) {
  int lost = 0;
  const auto codec = codec_of("int8", Rounding::kStochastic, 8);
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const std::vector<std::byte> code = encode(*codec, normal_values(8, seed), seed);
    const std::vector<float> decoded = decode(*codec, code, 8);
    if (largest_of(decoded) == 127 * scale_in(code)) continue;
    ++lost;
    EXPECT_NE(encode(*codec, decoded, seed), code) << seed;
  }
  EXPECT_GT(lost, 0);
}

TEST(WirePage, TopkGivesTheSameValuesForDecodedOnes) {
  for (const Rounding rounding : kBoth) {
    for (const std::size_t k : {1, 64, 1000, 4096}) {
      const auto codec = make_codec({.name = "topk", .rounding = rounding, .k = k});
      for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const std::size_t n = 200 + 97 * seed;
        const std::vector<float> decoded = decode(*codec, encode(*codec, hostile_values(n, seed), seed), n);
        ASSERT_EQ(bits_of(decode(*codec, encode(*codec, decoded, seed + 1), n)), bits_of(decoded))
            << "k " << k << " seed " << seed;
      }
    }
  }
}

TEST(WirePage, Bf16ErrsByAStepAmongDenormalsToo) {
  for (const Rounding rounding : kBoth) {
    const bool nearest = rounding == Rounding::kNearest;
    const auto codec = codec_of("bf16", rounding);
    std::vector<float> values = {0x1p-134f, 0x1.8p-133f, -0x1p-134f, 0x1p-149f};
    for (int exponent = -149; exponent < 100; ++exponent)
      for (const float value : normal_values(16, 5)) values.push_back(std::ldexp(value, exponent));
    const std::vector<float> decoded = decode(*codec, encode(*codec, values), values.size());
    float largest_of_tiny = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float a = std::fabs(values[i]), error = std::fabs(decoded[i] - values[i]);
      ASSERT_LE(error, nearest ? std::max(0x1p-8f * a, 0x1p-134f) : std::max(0x1p-7f * a, 0x1p-133f)) << a;
      if (a < 0x1p-126f) largest_of_tiny = std::max(largest_of_tiny, error / a);
    }
    EXPECT_GE(largest_of_tiny, nearest ? 1.0f : 0.5f) << "without the second term the bound would not hold";
  }
  EXPECT_EQ(decode(*codec_of("bf16"), encode(*codec_of("bf16"), std::vector<float>{3.4e38f}), 1)[0],
            INFINITY);
}

double sum_of_squares(std::span<const float> values, std::span<const float> others) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    sum += std::pow(static_cast<double>(values[i]) - others[i], 2);
  return sum;
}

TEST(WirePage, RotationHalvesTheSquaresOfOddPowersAndDoublesThoseOfTheirErrors) {
  for (const std::size_t block : {8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192}) {
    const double factor = std::countr_zero(block) % 2 == 0 ? 1 : 2;
    const std::vector<float> values = normal_values(block, block), zeros(block, 0.0f);
    const auto turn = make_codec({.name = "fp32", .block = block, .rotate = true});
    const std::vector<float> turned =
        decode(*make_codec({.name = "fp32", .block = block}), encode(*turn, values), block);
    EXPECT_NEAR(sum_of_squares(values, zeros) / sum_of_squares(turned, zeros), factor, 1e-5) << block;
    for (const char* name : {"int4", "ternary", "bf16"}) {
      const auto plain = make_codec({.name = name, .block = block});
      const auto rotated = make_codec({.name = name, .block = block, .rotate = true});
      const std::vector<std::byte> code = encode(*rotated, values);
      EXPECT_EQ(code, encode(*plain, turned)) << name;
      const double inner = sum_of_squares(turned, decode(*plain, code, block));
      const double outer = sum_of_squares(values, decode(*rotated, code, block));
      EXPECT_NEAR(outer / inner, factor, 1e-3 * factor) << name << " block " << block;
    }
  }
}

TEST(WirePage, RotatedFloatsAreRotatedAndNotLossless) {
  std::vector<float> values = normal_values(64, 3);
  values[7] = -0.0f;
  for (const char* name : {"fp32", "bf16"}) {
    const auto plain = codec_of(name);
    const auto rotated = make_codec({.name = name, .block = 64, .rotate = true});
    EXPECT_NE(encode(*rotated, values), encode(*plain, values)) << name;
    EXPECT_NE(decode(*rotated, encode(*rotated, values), 64), values) << name;
  }
  const auto fp32 = make_codec({.name = "fp32", .block = 64, .rotate = true});
  std::fill(values.begin(), values.end(), -0.0f);
  EXPECT_EQ(bits_of(decode(*fp32, encode(*fp32, values), 64)), std::vector<std::uint32_t>(64, 0u));
  values[0] = -INFINITY;
  EXPECT_EQ(decode(*fp32, encode(*fp32, values), 64)[0], -0x1p100f);
  const std::vector<float> denormals(64, std::numeric_limits<float>::denorm_min());
  EXPECT_NE(decode(*fp32, encode(*fp32, denormals), 64), denormals) << "a factor is exact but for denormals";
}

struct Lost {
  const char* codec;
  Rounding rounding;
  float limit;  // in 2^-126: no block with a larger magnitude is lost
};

// Blocks of 64: one value among zeros, among a tenth of it, which keeps a scale by least squares low, or
// among equal ones.
TEST(WirePage, LosesBlocksBelowTheLeastScaleOnly) {
  std::vector<Lost> cases;
  for (const std::string& name : scaled_names()) {
    for (const Rounding rounding : kBoth) {
      float limit = top_of(name);
      if (rounding == Rounding::kNearest && (name == "int2" || name == "ternary")) limit *= 2;
      if (rounding == Rounding::kNearest && name == "sign") limit = 64;
      cases.push_back({name.c_str(), rounding, limit});
    }
  }
  for (const Lost& lost : cases) {
    const auto codec = codec_of(lost.codec, lost.rounding);
    float largest_lost = 0;
    for (const float factor : {0.5f, 0.9f, 0.97f, 0.99f, 1.0f, 1.01f}) {
      for (const float others : {0.0f, 0.1f, 1.0f}) {
        std::vector<float> values(64, others * factor * lost.limit * 0x1p-126f);
        values[9] = factor * lost.limit * 0x1p-126f;
        const std::vector<std::byte> code = encode(*codec, values);
        if (scale_in(code) != 0) continue;
        largest_lost = std::max(largest_lost, factor);
        EXPECT_EQ(bits_of(decode(*codec, code, 64)), std::vector<std::uint32_t>(64, 0u));
      }
    }
    EXPECT_LT(largest_lost, 1) << lost.codec;
    EXPECT_GE(largest_lost, 0.97f) << lost.codec << ": the limit could be lower";
  }
}

// The quotient of the fit is 0/0 where no value lies above the split: zeros, and the least denormals.
TEST(WirePage, ABlockWithoutAFitIsLost) {
  for (const float tiny : {0.0f, std::numeric_limits<float>::denorm_min()}) {
    const std::vector<std::byte> code =
        encode(*codec_of("ternary", Rounding::kNearest, 8), std::vector<float>(8, tiny));
    EXPECT_EQ(testing::to_hex(code), "000000000000");
  }
}

// Beyond the outermost level by up to half the largest, and the half last bit of a scale of 16 bits.
TEST(WirePage, LeastSquaresCutOffHalfTheLargestAndTheScalesRounding) {
  for (const char* name : {"int2", "ternary"}) {
    const auto codec = codec_of(name);
    float most = 0;
    for (int i = 0; i < 5000; ++i) {
      std::vector<float> values(64, 0.1f);
      values[5] = 1 + static_cast<float>(i) * 0x1.a3p-13f;
      const float error = values[5] - decode(*codec, encode(*codec, values), 64)[5];
      most = std::max(most, error / (values[5] / 2));
    }
    EXPECT_LE(most, 1 + 0x1p-16f + 0x1p-22f) << name;
    EXPECT_GT(most, 1 + 0x1p-18f) << name << ": no more than a half is cut off";
  }
}

// A payload of one block whose codes are all there are, under the scale given.
std::vector<float> levels_times(const std::string& name, float scale) {
  const std::size_t n = 1280;
  const auto codec = make_codec({.name = name, .block = 1280});
  std::vector<std::byte> code(codec->encoded_bytes(n));
  std::memcpy(code.data(), &scale, sizeof scale);
  for (std::size_t i = 4; i < code.size(); ++i) code[i] = static_cast<std::byte>(i - 4);
  return decode(*codec, code, n);
}

bool is_exact(const std::string& name, float scale) {
  const std::vector<float> levels = levels_times(name, 1), values = levels_times(name, scale);
  for (std::size_t i = 0; i < levels.size(); ++i)
    if (values[i] != static_cast<double>(levels[i]) * scale) return false;
  return true;
}

TEST(WirePage, ScalesOf16BitsGiveExactProductsButForDenormalOnes) {
  for (int exponent = -126; exponent <= 100; ++exponent) {
    const float scale = std::ldexp(0x1.fffep0f, exponent);
    for (const std::string& name : scaled_names()) {
      if (name == "nf4") continue;  // whose levels have 24 bits
      const int from = name == "e4m3" ? -125 : name == "e5m2" ? -118 : -126;
      ASSERT_EQ(is_exact(name, scale), exponent >= from) << name << " 2^" << exponent;
    }
  }
  EXPECT_FALSE(is_exact("nf4", 0x1.fffep0f));
}

TEST(WirePage, GivesAConstantBlockBackWithinTheScaleOrStochasticallyALevelLower) {
  const std::map<std::string, float> gaps = {{"e4m3", 32}, {"e5m2", 8192}, {"int8", 1},
                                             {"int4", 1},  {"int2", 2},    {"e2m1", 2}};
  for (const std::string& name : scaled_names()) {
    for (const Rounding rounding : kBoth) {
      const bool nearest = rounding == Rounding::kNearest;
      const bool by_range = !nearest || !(name == "int2" || name == "ternary" || name == "sign");
      const bool exact = by_range && !gaps.contains(name);
      const auto codec = codec_of(name, rounding, 256);
      std::size_t below = 0, total = 0;
      for (const float constant : normal_values(400, 17)) {
        const std::vector<float> values(256, constant);
        const std::vector<std::byte> code = encode(*codec, values, total);
        for (const float value : decode(*codec, code, 256)) {
          ++total;
          const double ratio = static_cast<double>(value) / constant;
          if (exact) {
            ASSERT_EQ(value, constant) << name;
          } else if (!by_range) {
            ASSERT_NEAR(ratio, 1, 0x1p-16 + 0x1p-22) << name;
          } else if (nearest || ratio >= 1 - 0x1p-22) {
            ASSERT_GE(ratio, 1 - 0x1p-22) << name;
            ASSERT_LE(ratio, 1 + 0x1p-15 + 0x1p-22) << name;
          } else {
            ++below;
            ASSERT_NEAR(ratio, 1 - gaps.at(name) / top_of(name), 0x1p-14) << name;
          }
        }
      }
      if (exact || nearest) continue;
      // A scale is up to 2^-15 too large; the probability is what that is of the last gap.
      const double chance = 0x1p-15 * static_cast<double>(top_of(name)) / gaps.at(name);
      EXPECT_LE(static_cast<double>(below) / static_cast<double>(total), chance + 2e-3) << name;
      if (name == "int8") {
        EXPECT_GT(below, 0u);
      }
    }
  }
}

TEST(WirePage, ZerosOfBothSignsBecomeWhatTheTableSays) {
  std::vector<float> values = normal_values(64, 8);
  for (std::size_t i = 0; i < 64; ++i)
    if (i % 4 < 2) values[i] = i % 4 == 0 ? 0.0f : -0.0f;
  for (const std::string& name : scaled_names()) {
    for (const Rounding rounding : kBoth) {
      const auto codec = codec_of(name, rounding);
      const bool random = rounding == Rounding::kStochastic && (name == "int2" || name == "sign");
      std::size_t negative = 0;
      for (std::uint64_t key = 0; key < 20; ++key) {
        const std::vector<std::byte> code = encode(*codec, values, key);
        const float scale = scale_in(code);
        const std::vector<float> decoded = decode(*codec, code, 64);
        for (std::size_t i = 0; i < 64; i += i % 2 == 0 ? 1 : 3) {
          const bool minus = std::signbit(values[i]);
          negative += std::signbit(decoded[i]);
          if (random) {
            ASSERT_EQ(std::fabs(decoded[i]), scale) << name;
          } else if (name == "int2") {
            ASSERT_EQ(decoded[i], scale);
          } else if (name == "sign") {
            ASSERT_EQ(decoded[i], minus ? -scale : scale);
          } else {
            ASSERT_EQ(std::bit_cast<std::uint32_t>(decoded[i]), 0u) << name;
          }
        }
      }
      if (random) {
        EXPECT_NEAR(static_cast<double>(negative), 320, 60) << name << ": half of 640";
      }
    }
  }
}

std::vector<float> through_topk(std::span<const float> values, Rounding rounding = Rounding::kNearest) {
  const auto codec = make_codec({.name = "topk", .rounding = rounding, .k = 4096});
  return decode(*codec, encode(*codec, values), values.size());
}

TEST(WirePage, AKeptZeroBecomesTopksLowLevel) {
  const std::vector<float> decoded = through_topk(std::vector<float>{5, 1, 0, -0.0f});
  EXPECT_EQ(decoded[0], 5);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(decoded[i], 0x1.56p-2f) << "the mean of 1, 0 and 0";
}

// 0.7 lies above half of 1.3, and below the middle between 1.3 and the 0.35 that was lost.
TEST(WirePage, TopksLevelsBecomeZeroBeforeTheyAreChosenFrom) {
  constexpr float kUnit = 0x1p-126f;
  const std::vector<float> values = {1.3f * kUnit, 1.3f * kUnit, 1.3f * kUnit, -0.7f * kUnit, 0};
  const std::vector<float> decoded = through_topk(values);
  const float high = decoded[0];
  EXPECT_NEAR(high / kUnit, 1.3f, 1e-2f);
  EXPECT_EQ(decoded, (std::vector<float>{high, high, high, -high, 0}));
}

TEST(WirePage, StochasticTopkErrsByTheLevelsDistanceUnlessBothAreLost) {
  std::size_t lost = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    std::vector<float> values = normal_values(24, seed);
    for (float& value : values) value = std::ldexp(value, -129 + static_cast<int>(seed % 8));
    const auto codec = make_codec({.name = "topk", .rounding = Rounding::kStochastic, .k = 4096});
    const std::vector<std::byte> code = encode(*codec, values, seed);
    const std::uint32_t levels = std::bit_cast<std::uint32_t>(scale_in(code));
    const float low = std::bit_cast<float>(levels << 16), high = std::bit_cast<float>(levels & 0xffff0000u);
    const std::vector<float> decoded = decode(*codec, code, values.size());
    lost += high == 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_LE(std::fabs(decoded[i] - values[i]), high == 0 ? 0x1p-126f : high - low) << "seed " << seed;
  }
  EXPECT_GT(lost, 0u);
  EXPECT_LT(lost, 300u);
}

// The number of the 65536 draws that take the code above the value, by bisection: the smaller draws do.
template <class Rule>
double expected_level(float y) {
  const auto code_for = [&](unsigned draw) {
    return Rule::stochastic(y, (static_cast<float>(draw) + 0.5f) * 0x1p-16f);
  };
  unsigned begin = 0, end = 65536;
  const unsigned last = code_for(65535);
  while (begin < end) {
    const unsigned middle = (begin + end) / 2;
    (code_for(middle) == last ? end : begin) = middle + (code_for(middle) == last ? 0 : 1);
  }
  const double chance = static_cast<double>(begin) / 65536;
  return chance * Rule::level(code_for(0)) + (1 - chance) * Rule::level(last);
}

TEST(WirePage, TheExpectedErrorIsThatOfTheDrawAndOfTheDivision) {
  using E4m3 = MinifloatRule<4, 3, 7, 126>;
  double most = 0;
  std::mt19937_64 generator(5);
  for (int i = 0; i < 200000; ++i) {
    const float scale = 1 + static_cast<float>(generator() % 32768) * 0x1p-15f;
    // Just below a power of two the quotient's last bit is the largest part of a step.
    const float x = 4 - static_cast<float>(generator() % (1u << 23)) * 0x1p-23f;
    const double exact = static_cast<double>(x) / scale;
    const double step = std::ldexp(1.0, std::ilogb(x / scale) - 3);
    const double error = std::fabs(expected_level<E4m3>(x / scale) - exact);
    ASSERT_LE(error, step * 0x1p-17 + exact * 0x1p-24) << x << " / " << scale;
    most = std::max(most, error / step);
  }
  EXPECT_GT(most, 0x1.02p-17) << "the draw alone would account for it";
}

TEST(WirePage, TheSignOfAStochasticMinifloatIsThatOfTheCodeSent) {
  for (const char* name : {"e4m3", "e5m2"}) {
    std::vector<float> values(64, -1.0f);
    for (std::size_t i = 1; i < 64; ++i) values[i] = -0x1p-36f * static_cast<float>(i);
    const std::vector<std::byte> code = encode(*codec_of(name, Rounding::kStochastic), values);
    int zeros = 0;
    for (const std::byte one : std::span(code).subspan(4)) {
      zeros += one == std::byte{0};
      EXPECT_NE(one, std::byte{0x80}) << name;
    }
    EXPECT_GT(zeros, 0) << name;
  }
}

// The bits of a short last byte that belong to no value, and ternary's digits.
std::vector<std::byte> with_unused_set(const std::string& name, std::size_t n, std::vector<std::byte> code) {
  if (name == "ternary") {  // 8 values in 2 bytes: the digit of 81 is nobody's
    for (std::size_t i = 4; i < code.size(); ++i) {
      EXPECT_LT(static_cast<unsigned>(code[i]), 81u);
      code[i] = static_cast<std::byte>(static_cast<unsigned>(code[i]) + 162);
    }
    return code;
  }
  const std::size_t bits = name == "sign" ? 1 : name == "int2" ? 2 : 4;
  const auto unused = static_cast<std::byte>(0xff << n * bits % 8);
  EXPECT_EQ(code.back() & unused, std::byte{0}) << name;
  code.back() |= unused;
  return code;
}

TEST(WirePage, UnusedBitsAreSentAsZeroAndNotRead) {
  for (const char* name : {"int4", "int2", "nf4", "e2m1", "e3m0", "ternary", "sign"}) {
    for (const Rounding rounding : kBoth) {
      const std::size_t n = std::string(name) == "ternary" ? 8 : 13;
      const auto codec = codec_of(name, rounding, 8);
      const std::vector<std::byte> code = encode(*codec, normal_values(n, 6));
      const std::vector<std::byte> other = with_unused_set(name, n, code);
      EXPECT_EQ(bits_of(decode(*codec, other, n)), bits_of(decode(*codec, code, n))) << name;
      std::vector<float> sum(n, 1), expected(n, 1);
      codec->decode_add(other, sum);
      codec->decode_add(code, expected);
      EXPECT_EQ(bits_of(sum), bits_of(expected)) << name;
    }
  }
  // Topk: 3 kept, 4 bits after their indices and 2 after their codes.
  const auto topk = make_codec({.name = "topk", .k = 3});
  std::vector<std::byte> code = encode(*topk, normal_values(4096, 2));
  const std::vector<float> decoded = decode(*topk, code, 4096);
  EXPECT_EQ(code[8] & std::byte{0xf0}, std::byte{0});
  EXPECT_EQ(code[9] & std::byte{0xc0}, std::byte{0});
  code[8] |= std::byte{0xf0};
  code[9] |= std::byte{0xc0};
  EXPECT_EQ(bits_of(decode(*topk, code, 4096)), bits_of(decoded));
}

// Exact also where a topk level is lost, but not where a small value was kept and became a level.
TEST(WirePage, ResidualsOfTopkAreExactUnlessALevelIsFarAboveTheValue) {
  const auto codec = make_codec({.name = "topk", .k = 4096});
  const std::vector<float> delta = {5, 1, 1e-10f, 0};
  ErrorFeedback feedback(*codec, delta.size());
  std::vector<float> value = delta;
  std::vector<std::byte> code(codec->encoded_bytes(delta.size()));
  feedback.encode(value, 0, code);
  const std::vector<float> sent = decode(*codec, code, delta.size());
  EXPECT_EQ(sent[1] + feedback.residual()[1], 1.0f);
  EXPECT_NE(sent[2] + feedback.residual()[2], 1e-10f);
}

}  // namespace
}  // namespace thinwire::quant
