// What is the rotation's own; the laws it shares with the codecs are in codec_test.cpp.
#include "quant/codec/rotated_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/codec/stochastic.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/hex.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

using testing::bits_of;
using testing::decode;
using testing::encode;
using testing::normal_values;

std::unique_ptr<Codec> rotated(const std::string& name, std::size_t block = 256) {
  return make_codec({.name = name, .block = block, .rotate = true});
}

double square_error(const Codec& codec, const std::vector<float>& values) {
  const std::vector<float> decoded = decode(codec, encode(codec, values), values.size());
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    sum += std::pow(static_cast<double>(decoded[i]) - values[i], 2);
  return sum;
}

// y_i = sum_j (-1)^popcount(i & j) d_j x_j, the definition.
TEST(Rotated, CodesTheHadamardTransform) {
  for (const std::size_t block : {8, 16, 256}) {
    const std::vector<float> values = normal_values(block, block);
    const auto codec = rotated("fp32", block);
    const std::vector<float> found = decode(*make_codec({.name = "fp32"}), encode(*codec, values), block);
    const int factor = -(std::countr_zero(block) + 1) / 2;
    for (std::size_t i = 0; i < block; ++i) {
      double expected = 0;
      for (std::size_t j = 0; j < block; ++j) {
        const bool negative =
            ((draw_hash(0, static_cast<std::uint32_t>(j)) & 1) + std::popcount(i & j)) % 2 != 0;
        expected += negative ? -values[j] : values[j];
      }
      EXPECT_NEAR(found[i], std::ldexp(expected, factor), 1e-5) << "block " << block << " value " << i;
    }
  }
}

TEST(Rotated, IsUndoneByDecoding) {
  for (const std::size_t block : {8, 32, 256, 4096, 8192}) {
    const std::size_t n = 3 * block + 5;
    const std::vector<float> values = normal_values(n, 1);
    const std::vector<float> found =
        decode(*rotated("fp32", block), encode(*rotated("fp32", block), values), n);
    // Each of the 2p additions errs by half a unit of a value of the order of the block's root mean square.
    const double tolerance = 2 * std::log2(block) * 0x1p-24 * 8;
    for (std::size_t i = 0; i < n; ++i) ASSERT_NEAR(found[i], values[i], tolerance) << "block " << block;
  }
}

TEST(Rotated, LeavesAShortLastBlockAsItIs) {
  const std::vector<float> values = normal_values(256 + 100, 4);
  const auto plain = make_codec({.name = "int4"});
  const std::vector<std::byte> code = encode(*rotated("int4"), values), unrotated = encode(*plain, values);
  EXPECT_NE(code, unrotated);
  std::vector<std::byte> tail(plain->encoded_bytes(100)), expected(tail);
  rotated("int4")->slice(code, 356, {256, 100}, tail);
  plain->slice(unrotated, 356, {256, 100}, expected);
  EXPECT_EQ(tail, expected);
}

TEST(Rotated, ASliceIsAPayload) {
  const auto codec = rotated("int8", 64);
  const std::vector<float> values = normal_values(64 * 5, 6);
  std::vector<std::byte> part(codec->encoded_bytes(128));
  codec->slice(encode(*codec, values), values.size(), {192, 128}, part);
  EXPECT_EQ(part, encode(*codec, std::span(values).subspan(192)));
}

TEST(Rotated, SpreadsFewLargeValuesOverTheBlock) {
  std::vector<float> values = normal_values(64 * 256, 12);
  for (std::size_t i = 17; i < values.size(); i += 128) values[i] *= 30;
  for (const char* name : {"int2", "int4", "ternary"}) {
    EXPECT_LT(square_error(*rotated(name), values), 0.7 * square_error(*make_codec({.name = name}), values))
        << name;
  }
}

TEST(Rotated, CodesManyStripsAsTheWhole) {
  const std::size_t n = 3 * 8192 + 2 * 256 + 9;
  const std::vector<float> values = normal_values(n, 8);
  const auto codec = rotated("e3m0");
  const std::vector<std::byte> code = encode(*codec, values);
  for (std::size_t first = 0; first + 256 <= n; first += 256) {
    std::vector<std::byte> part(codec->encoded_bytes(256));
    codec->slice(code, n, {first, 256}, part);
    ASSERT_EQ(part, encode(*codec, std::span(values).subspan(first, 256))) << "values from " << first;
  }
  std::vector<float> sum = normal_values(n, 9), expected = sum;
  const std::vector<float> decoded = decode(*codec, code, n);
  for (std::size_t i = 0; i < n; ++i) expected[i] += decoded[i];
  codec->decode_add(code, sum);
  EXPECT_EQ(bits_of(sum), bits_of(expected));
}

TEST(Rotated, LimitsInfinities) {
  std::vector<float> values = normal_values(256, 2);
  values[3] = INFINITY;
  values[4] = -INFINITY;
  for (const char* name : {"fp32", "int8", "int2"}) {
    const std::vector<float> decoded = decode(*rotated(name), encode(*rotated(name), values), 256);
    for (const float value : decoded) EXPECT_LE(std::fabs(value), 0x1p101f) << name;
    EXPECT_GT(decoded[3], 0x1p99f) << name;
    EXPECT_LT(decoded[4], -0x1p99f) << name;
  }
}

TEST(Rotated, HasTheseBytes) {
  std::vector<float> values;
  for (int i = 0; i < 20; ++i) values.push_back(static_cast<float>(i * i % 11) - 4);
  EXPECT_EQ(testing::to_hex(encode(*rotated("int8", 16), values)),
            "0094493d0043213d0538b4d2fb19242e81f10ff18b0ff195e7e7197f");
  EXPECT_EQ(testing::to_hex(encode(*rotated("int2", 8), values)), "0055853f00008e3f0000c03ff2c241e14f");
}

TEST(Rotated, RefusesABlockThatIsNoPowerOfTwoOrTooLong) {
  for (const std::size_t block : {24, 16384}) {
    EXPECT_THAT([block] { rotated("int8", block); },
                ::testing::ThrowsMessage<std::invalid_argument>(::testing::HasSubstr(
                    "codec 'int8': rotation needs a block that is a power of two, at most 8192, got " +
                    std::to_string(block))));
  }
}

}  // namespace
}  // namespace thinwire::quant
