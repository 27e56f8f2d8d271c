// Ranges to threads: each value once, and the same bytes as one thread gives.
#include "quant/codec/threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "quant/codec/outer_pass.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant {
namespace {

using testing::bits_of;
using testing::normal_values;

constexpr std::size_t kMany = Threads::kLeastShared + 300;  // neither whole blocks nor whole tiles

TEST(Threads, CoverEveryValueOnceInWholeUnits) {
  for (const int count : {1, 2, 3, 5}) {
    Threads threads(count);
    EXPECT_EQ(threads.count(), count);
    for (const std::size_t n : {std::size_t{0}, std::size_t{7}, kMany}) {
      std::vector<std::atomic<int>> seen(n);
      std::atomic<int> calls = 0;
      threads.for_ranges(n, 256, [&](std::size_t first, std::size_t size) {
        ++calls;
        EXPECT_EQ(first % 256, 0u);
        EXPECT_TRUE(size % 256 == 0 || first + size == n);
        for (std::size_t i = first; i < first + size; ++i) ++seen[i];
      });
      for (const auto& one : seen) ASSERT_EQ(one, 1);
      EXPECT_EQ(calls, n == 0 ? 0 : n < Threads::kLeastShared ? 1 : count);
    }
  }
}

TEST(Threads, PassOnAnExceptionAndGoOn) {
  Threads threads(3);
  EXPECT_THROW(threads.for_ranges(kMany, 1,
                                  [](std::size_t first, std::size_t) {
                                    if (first > 0) throw std::runtime_error("broken");
                                  }),
               std::runtime_error);
  std::atomic<std::size_t> sum = 0;
  threads.for_ranges(kMany, 1, [&](std::size_t, std::size_t size) { sum += size; });
  EXPECT_EQ(sum, kMany);
}

TEST(Threads, RefuseACountBelowOne) {
  EXPECT_THROW(Threads(0), std::invalid_argument);
}

class ThreadedCodec : public ::testing::TestWithParam<CodecOptions> {};
INSTANTIATE_TEST_SUITE_P(Codecs, ThreadedCodec, ::testing::ValuesIn(testing::codec_cases({256})),
                         testing::case_name);

TEST_P(ThreadedCodec, GivesTheBytesOfOneThread) {
  const auto codec = make_codec(GetParam());
  const std::vector<float> agreed = normal_values(kMany, 1), local = normal_values(kMany, 2);
  std::vector<std::byte> expected_code;
  std::vector<std::uint32_t> expected;
  for (const int count : {1, 2, 3}) {
    Threads threads(count);
    std::vector<std::byte> code(codec->encoded_bytes(kMany));
    std::vector<float> values = agreed, momentum = local, residual(kMany, 1e-3f), weights = local;
    encode(*codec, agreed, 5, code, &threads);
    decode(*codec, code, values, &threads);
    decode_add(*codec, code, values, &threads);
    std::vector<std::uint32_t> found = bits_of(values);
    ASSERT_EQ(encode_delta(*codec, {agreed, local, residual}, 6, code, &threads), kMany);
    const CodedValues payload = {code, kMany, 0};
    apply_update(
        *codec,
        {.payloads = {&payload, 1}, .alpha = 0.5f, .agreed = values, .momentum = momentum, .local = weights},
        &threads);
    for (const auto& more : {residual, values, momentum, weights}) {
      const auto bits = bits_of(more);
      found.insert(found.end(), bits.begin(), bits.end());
    }
    if (count == 1) {
      expected_code = code;
      expected = found;
    }
    ASSERT_TRUE(code == expected_code) << count << " threads";
    ASSERT_TRUE(found == expected) << count << " threads";
  }
}

}  // namespace
}  // namespace thinwire::quant
