// What is topk's own; the laws it shares are in codec_test.cpp.
#include "quant/codec/topk_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

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

std::unique_ptr<Codec> topk(std::size_t k, Rounding rounding = Rounding::kNearest) {
  return make_codec({.name = "topk", .rounding = rounding, .k = k});
}

// Indices of the values of a chunk that are kept, by sorting.
std::vector<std::size_t> largest(std::span<const float> chunk, std::size_t num_kept) {
  std::vector<std::size_t> order(chunk.size());
  std::iota(order.begin(), order.end(), 0);
  const auto magnitude = [&](std::size_t i) { return std::min(std::fabs(chunk[i]), 0x1p100f); };
  std::ranges::stable_sort(order, std::greater<>(), magnitude);
  order.resize(num_kept);
  std::ranges::sort(order);
  return order;
}

std::vector<std::size_t> indices_in(std::span<const std::byte> codes, std::size_t num_kept) {
  std::vector<std::size_t> indices;
  for (std::size_t j = 0; j < num_kept; ++j) {
    const auto low = static_cast<unsigned>(codes[3 * j / 2]),
               high = static_cast<unsigned>(codes[3 * j / 2 + 1]);
    indices.push_back(j % 2 == 0 ? low | (high & 15) << 8 : low >> 4 | high << 4);
  }
  return indices;
}

TEST(Topk, HasAChunkOf4096WhateverTheBlock) {
  EXPECT_EQ(make_codec({.name = "topk", .block = 8})->block(), 4096u);
  EXPECT_EQ(topk(64)->encoded_bytes(4096), 4u + 96 + 16);
  EXPECT_EQ(topk(4096)->encoded_bytes(4096), 4u + 6144 + 1024);
  EXPECT_EQ(topk(1)->encoded_bytes(3 * 4096), 3u * (4 + 2 + 1));
}

TEST(Topk, KeepsOfAShortChunkTheSameShare) {
  for (const std::size_t k : {1, 63, 64, 4096}) {
    for (const std::size_t m : {1, 63, 64, 65, 1009, 4095}) {
      const std::size_t kept = static_cast<std::size_t>(std::ceil(static_cast<double>(k * m) / 4096));
      EXPECT_EQ(topk(k)->encoded_bytes(m), 4 + (3 * kept + 1) / 2 + (kept + 3) / 4) << k << " of " << m;
    }
  }
}

TEST(Topk, KeepsTheLargestMagnitudesInAscendingOrder) {
  for (const std::size_t k : {1, 2, 64, 1000, 4095, 4096}) {
    const auto codec = topk(k);
    for (const std::vector<float>& values :
         {normal_values(4096, k), awkward_values(4096, k), std::vector<float>(4096, -1.5f),
          std::vector<float>(4096, 0.0f)}) {
      const std::vector<std::byte> code = encode(*codec, values);
      EXPECT_EQ(indices_in(std::span(code).subspan(4), k), largest(values, k)) << "k " << k;
    }
  }
}

TEST(Topk, KeepsEachChunksOwn) {
  const std::size_t n = 2 * 4096 + 640;
  const std::vector<float> values = normal_values(n, 5);
  const std::vector<std::byte> code = encode(*topk(64), values);
  const auto codes = std::span(code).subspan(3 * 4);
  const std::span chunks(values);
  EXPECT_EQ(indices_in(codes, 64), largest(chunks.first(4096), 64));
  EXPECT_EQ(indices_in(codes.subspan(112), 64), largest(chunks.subspan(4096, 4096), 64));
  EXPECT_EQ(indices_in(codes.subspan(224), 10), largest(chunks.subspan(8192), 10));
}

TEST(Topk, OfEqualMagnitudesKeepsTheLowerIndices) {
  std::vector<float> values(4096, 0.5f);
  values[4000] = -0.5f;
  values[4095] = 2;
  const std::vector<float> decoded = decode(*topk(4), encode(*topk(4), values), 4096);
  for (std::size_t i = 0; i < 4096; ++i) EXPECT_EQ(decoded[i], i < 3 ? 0.5f : i == 4095 ? 2.0f : 0.0f) << i;
}

TEST(Topk, ErrsByLessThanItsBound) {
  for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
    const auto codec = topk(256, rounding);
    std::vector<float> values = normal_values(4096, 17);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = std::ldexp(values[i], static_cast<int>(i % 8));
    const std::vector<std::byte> code = encode(*codec, values);
    const std::vector<float> decoded = decode(*codec, code, values.size());
    std::array<std::uint16_t, 2> levels;
    std::memcpy(levels.data(), code.data(), 4);
    const auto low = std::bit_cast<float>(std::uint32_t{levels[0]} << 16);
    const auto high = std::bit_cast<float>(std::uint32_t{levels[1]} << 16);
    ASSERT_LT(low, high);
    const std::vector<std::size_t> kept = largest(values, 256);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float a = std::fabs(values[i]), error = std::fabs(decoded[i] - values[i]);
      if (!std::ranges::binary_search(kept, i)) {
        ASSERT_EQ(decoded[i], 0.0f) << i;
      } else if (rounding == Rounding::kNearest) {
        ASSERT_LE(error, std::min(std::fabs(a - low), std::fabs(a - high)) + 0x1p-22f * a) << i;
      } else {
        ASSERT_LE(error, high - low) << i;
      }
    }
  }
}

// The mean of two groups leaves less error than one magnitude for all kept, which is their variance.
TEST(Topk, FitsTwoLevelsToTheKept) {
  const std::vector<float> values = normal_values(64 * 4096, 23);
  const std::vector<float> decoded = decode(*topk(64), encode(*topk(64), values), values.size());
  double error = 0, sum = 0, squares = 0, kept = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (decoded[i] == 0) continue;
    error += std::pow(static_cast<double>(decoded[i]) - values[i], 2);
    sum += std::fabs(values[i]);
    squares += static_cast<double>(values[i]) * values[i];
    ++kept;
  }
  EXPECT_EQ(kept, 64 * 64);
  EXPECT_LT(error / kept, 0.45 * (squares / kept - sum / kept * sum / kept));
  RecordProperty("relative_error", std::to_string(error / squares));
}

TEST(Topk, IsUnbiasedOnTheKeptIfStochastic) {
  const auto codec = topk(64, Rounding::kStochastic);
  const std::vector<float> values = normal_values(4096, 31);
  constexpr int kRounds = 4000;
  std::vector<double> sum(4096);
  float step = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<float> decoded =
        decode(*codec, encode(*codec, values, stream_key({.step = std::uint64_t(round)})), 4096);
    for (std::size_t i = 0; i < 4096; ++i) sum[i] += decoded[i];
    if (round == 0) {
      const auto magnitudes = [](float value) { return std::fabs(value); };
      step = std::fabs(*std::ranges::max_element(decoded, {}, magnitudes));
    }
  }
  // A draw between two levels deviates by at most half their distance, which is less than the largest level.
  for (const std::size_t i : largest(values, 64)) {
    EXPECT_NEAR(sum[i] / kRounds, values[i], 5 * 0.5 * step / std::sqrt(kRounds)) << "value " << i;
  }
}

TEST(Topk, GivesTheSameValuesForDecodedValues) {
  for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
    for (const std::size_t n : {1, 63, 64, 65, 4095, 4096, 4097, 9001}) {
      const auto codec = topk(100, rounding);
      const std::vector<float> decoded = decode(*codec, encode(*codec, normal_values(n, n)), n);
      EXPECT_EQ(bits_of(decode(*codec, encode(*codec, decoded, 8), n)), bits_of(decoded)) << "n " << n;
    }
  }
}

TEST(Topk, TakesForeignIndicesWithoutHarm) {
  // k 4 of a chunk of 1024 values: one is kept. Of 4096: four.
  const auto codec = topk(4);
  const auto whole = testing::from_hex(
      "803f0040"
      "053000"
      "053000"
      "e4");  // 5, 3, 5, 3; codes 0, 1, 2, 3
  std::vector<float> sum(4096, 1.0f);
  const std::vector<float> decoded = decode(*codec, whole, 4096);
  codec->decode_add(whole, sum);
  for (std::size_t i = 0; i < 4096; ++i) {
    EXPECT_EQ(decoded[i], i == 5 ? 1.0f : 0.0f) << "only the first is above the one before it, value " << i;
    EXPECT_EQ(sum[i], 1.0f + decoded[i]) << i;
  }
  const auto beyond = testing::from_hex(
      "803f0040"
      "0004"
      "00");  // index 1024 of 1024 values
  EXPECT_EQ(bits_of(decode(*codec, beyond, 1024)), std::vector<std::uint32_t>(1024, 0u));
}

TEST(Topk, LeavesTheSumAloneWhereNothingWasKept) {
  const std::vector<std::byte> code = encode(*topk(1), normal_values(4096, 2));
  std::vector<float> sum(4096, -0.0f);
  topk(1)->decode_add(code, sum);
  EXPECT_EQ(std::ranges::count_if(sum, [](float value) { return value == 0 && std::signbit(value); }), 4095);
}

TEST(Topk, RefusesAnImpossibleKAndRotation) {
  for (const std::size_t k : {0, 4097}) {
    EXPECT_THAT([k] { topk(k); }, ::testing::ThrowsMessage<std::invalid_argument>(::testing::HasSubstr(
                                      "codec 'topk': k must be 1 to 4096, the values kept of a chunk; got " +
                                      std::to_string(k))));
  }
  EXPECT_THAT([] { make_codec({.name = "topk", .rotate = true}); },
              ::testing::ThrowsMessage<std::invalid_argument>(
                  ::testing::HasSubstr("codec 'topk' cannot be rotated")));
}

}  // namespace
}  // namespace thinwire::quant
