// Every SIMD target gives the bits of the scalar reference. Targets that the processor lacks are skipped by
// name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>
#include <tuple>

#include "quant/kernel/target.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

std::unique_ptr<Codec> codec_on(Target target, const CodecOptions& options) {
  const ForcedTarget guard(target);
  return make_codec(options);
}

// Bits, but all NaN alike: their payloads are not part of the format.
std::vector<std::uint32_t> comparable_bits(std::vector<float> values) {
  for (float& value : values) value = std::isnan(value) ? std::nanf("") : value;
  return testing::bits_of(values);
}

std::vector<std::byte> random_bytes(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<std::byte> bytes(n);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(generator());
  return bytes;
}

std::vector<Target> supported_vector_targets() {
  std::vector<Target> targets = compiled_targets();
  std::erase_if(targets, [](Target target) { return target == Target::kScalar || !is_supported(target); });
  return targets;
}

class CompiledTarget : public ::testing::TestWithParam<Target> {};
INSTANTIATE_TEST_SUITE_P(Targets, CompiledTarget, ::testing::ValuesIn(compiled_targets()),
                         [](const auto& param) { return std::string(target_name(param.param)); });

TEST_P(CompiledTarget, RunsHere) {
  if (!is_supported(GetParam())) {
    GTEST_SKIP() << "this processor has no " << target_name(GetParam())
                 << ": its kernels are not tested here";
  }
  EXPECT_EQ(parse_target(target_name(GetParam())), GetParam());
}

class EveryTarget : public ::testing::TestWithParam<std::tuple<Target, CodecOptions>> {
 protected:
  std::vector<std::size_t> lengths() const {
    const std::size_t block = options.block;
    return {0, 1, 31, 32, 33, block - 1, block, block + 1, 3 * block, 3 * block + 33, 7919};
  }

  const CodecOptions options = std::get<1>(GetParam());
  const std::unique_ptr<Codec> fast = codec_on(std::get<0>(GetParam()), options);
  const std::unique_ptr<Codec> reference = codec_on(Target::kScalar, options);
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(EveryTarget);

std::string target_case_name(const ::testing::TestParamInfo<std::tuple<Target, CodecOptions>>& param) {
  const auto& [target, options] = param.param;
  return std::string(target_name(target)) + "_" + testing::case_name({options, 0});
}

// 160 / 5 is a whole number of vectors, 8192 too long for the kernels, 8 too short.
const std::vector<std::size_t> kBlocks = {8, 32, 160, 256, 8192};
INSTANTIATE_TEST_SUITE_P(Codecs, EveryTarget,
                         ::testing::Combine(::testing::ValuesIn(supported_vector_targets()),
                                            ::testing::ValuesIn(testing::codec_cases(kBlocks))),
                         target_case_name);

TEST_P(EveryTarget, EncodesTheBytesOfTheReference) {
  for (const std::size_t n : lengths()) {
    for (const std::vector<float>& values :
         {testing::normal_values(n, n), testing::awkward_values(n, n), std::vector<float>(n, 0.7f)}) {
      ASSERT_EQ(testing::encode(*fast, values, 99 + n), testing::encode(*reference, values, 99 + n))
          << "n " << n;
    }
  }
}

// Levels, midpoints between them and their neighbours, where rounding may go astray.
TEST_P(EveryTarget, EncodesTiesAsTheReference) {
  std::vector<float> values;
  const float tops[] = {1.0f, 3.0f, 6.0f, 7.0f, 64.0f, 127.0f, 448.0f, 57344.0f};
  for (const float top : tops) {
    for (std::size_t i = 0; i < options.block; ++i) {
      const float level = top * static_cast<float>(i % 255) / 254.0f;
      const float tie = std::ldexp(static_cast<float>(i % 64) + 0.5f, static_cast<int>(i / 64 % 12) - 6);
      const float value = i % 2 == 0 ? std::min(tie, top) : level;
      values.push_back(i == 0 ? top : i % 3 == 0 ? std::nextafter(value, 0.0f) : i % 5 == 0 ? -value : value);
    }
  }
  ASSERT_EQ(testing::encode(*fast, values), testing::encode(*reference, values));
}

// Scales of any mantissa, values within three units of where a quotient by them crosses a border of levels.
TEST_P(EveryTarget, EncodesNeighboursOfBordersAsTheReference) {
  std::mt19937_64 generator(7);
  std::vector<float> values;
  for (const int exponent : {-120, -99, -61, -60, -59, -10, 0, 30, 59, 60, 61, 90}) {
    for (const float top : {1.0f, 3.0f, 6.0f, 7.0f, 64.0f, 127.0f}) {
      const float scale = std::ldexp(1.0f + static_cast<float>(generator() % 65536) / 65536, exponent);
      values.push_back(top * scale);
      while (values.size() % options.block != 0) {
        const float border = static_cast<float>(generator() % static_cast<std::uint64_t>(4 * top)) / 4;
        float value = border * scale;
        for (std::uint64_t ulps = generator() % 4; ulps > 0; --ulps) {
          value = std::nextafter(value, generator() % 2 == 0 ? 0.0f : top * scale);
        }
        values.push_back(generator() % 2 == 0 ? value : -value);
      }
    }
  }
  ASSERT_EQ(testing::encode(*fast, values, 3), testing::encode(*reference, values, 3));
}

TEST_P(EveryTarget, DecodesAnyBytesAsTheReference) {
  for (const std::size_t n : lengths()) {
    for (const auto& code : {random_bytes(fast->encoded_bytes(n), n),
                             testing::encode(*reference, testing::awkward_values(n, n + 1))}) {
      const std::vector<float> decoded = testing::decode(*fast, code, n);
      ASSERT_EQ(comparable_bits(decoded), comparable_bits(testing::decode(*reference, code, n))) << "n " << n;
      std::vector<float> sum = testing::normal_values(n, 3);
      std::vector<float> expected = sum;
      fast->decode_add(code, sum);
      reference->decode_add(code, expected);
      ASSERT_EQ(comparable_bits(sum), comparable_bits(expected)) << "n " << n;
    }
  }
}

TEST_P(EveryTarget, ReadsAndWritesMisalignedSpans) {
  const std::size_t n = 3 * options.block + 5;
  const std::vector<float> values = testing::normal_values(n + 3, 8);
  for (const std::size_t shift : {1, 2, 3}) {
    const auto shifted = std::span(values).subspan(shift, n);
    std::vector<std::byte> code(fast->encoded_bytes(n) + shift);
    fast->encode(shifted, 5, std::span(code).subspan(shift));
    const std::vector<std::byte> expected = testing::encode(*reference, shifted, 5);
    ASSERT_TRUE(
        std::equal(expected.begin(), expected.end(), code.begin() + static_cast<std::ptrdiff_t>(shift)));
    std::vector<float> decoded(n + shift);
    fast->decode(std::span(code).subspan(shift), std::span(decoded).subspan(shift));
    ASSERT_EQ(testing::bits_of(std::span(decoded).subspan(shift)),
              testing::bits_of(testing::decode(*reference, expected, n)));
  }
}

TEST_P(EveryTarget, SurvivesNaN) {
  std::vector<float> values(2 * options.block, std::nanf(""));
  testing::encode(*fast, values);
  values = testing::normal_values(values.size(), 6);
  values[3] = -std::nanf("");
  testing::encode(*fast, values);
}

// Beyond a size, codes go past the caches, in whole lines: of a block of 256, int8 writes 256 bytes and
// ternary 52.
TEST(Targets, WriteLargePayloadsAtAnyAddress) {
  for (const Target target : supported_vector_targets()) {
    for (const char* format : {"int8", "ternary"}) {
      SCOPED_TRACE(std::string(target_name(target)) + " " + format);
      const auto fast = codec_on(target, {.name = format});
      constexpr std::size_t kMany = std::size_t{1} << 20;
      const std::size_t n =
          kMany * kMany / fast->encoded_bytes(kMany) * 3 / 2 + 7;  // of which 1 MiB are codes
      const std::vector<float> values = testing::normal_values(n, 4);
      const std::vector<std::byte> expected =
          testing::encode(*codec_on(Target::kScalar, {.name = format}), values);
      for (const std::size_t shift : {0, 1, 29, 63}) {
        std::vector<std::byte> code(expected.size() + shift + 1, std::byte{0x5a});
        fast->encode(values, 1, std::span(code).subspan(shift, expected.size()));
        ASSERT_TRUE(
            std::equal(expected.begin(), expected.end(), code.begin() + static_cast<std::ptrdiff_t>(shift)))
            << "shift " << shift;
        ASSERT_EQ(code.back(), std::byte{0x5a});
        ASSERT_TRUE(shift == 0 || code[shift - 1] == std::byte{0x5a});
      }
    }
  }
}

TEST(Targets, BeginWithTheReference) {
  EXPECT_EQ(compiled_targets().front(), Target::kScalar);
  EXPECT_TRUE(is_supported(Target::kScalar));
  EXPECT_TRUE(is_supported(active_target()));
}

// One of the ctest entries sets THINWIRE_SIMD.
TEST(Targets, FollowTheEnvironment) {
  const char* name = std::getenv("THINWIRE_SIMD");
  if (name == nullptr) GTEST_SKIP() << "THINWIRE_SIMD is not set";
  EXPECT_EQ(target_name(active_target()), name);
}

TEST(Targets, AreForcedForAScopeAndAThread) {
  const Target usual = active_target();
  {
    const ForcedTarget outer(Target::kScalar);
    EXPECT_EQ(active_target(), Target::kScalar);
    {
      const ForcedTarget inner(usual);
      EXPECT_EQ(active_target(), usual);
    }
    EXPECT_EQ(active_target(), Target::kScalar);
    std::thread([&] { EXPECT_EQ(active_target(), usual); }).join();
  }
  EXPECT_EQ(active_target(), usual);
}

TEST(Targets, RefuseUnknownAndUnsupportedNames) {
  EXPECT_EQ(parse_target("scalar"), Target::kScalar);
  EXPECT_THAT([] { parse_target("avx9"); },
              ::testing::ThrowsMessage<std::invalid_argument>(::testing::HasSubstr(
                  "SIMD target 'avx9' is unknown or not supported by this processor; it has: scalar")));
  for (const Target target : {Target::kSse4, Target::kAvx512, Target::kAvx512Vbmi, Target::kNeon}) {
    if (is_supported(target)) continue;
    EXPECT_THROW(parse_target(target_name(target)), std::invalid_argument);
    EXPECT_THROW(ForcedTarget{target}, std::invalid_argument);
  }
}

}  // namespace
}  // namespace thinwire::quant
