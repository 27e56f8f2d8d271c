#include "quant/codec/wire_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <array>
#include <cstring>
#include <functional>
#include <vector>

#include "tests/quant/hex.h"

namespace thinwire::quant {
namespace {

using ::testing::HasSubstr;

WireInfo sample_info() {
  return {.codec = 6,
          .rounding = Rounding::kStochastic,
          .leg = 1,
          .block = 256,
          .fragment = 3,
          .worker = 2,
          .step = 0x0102030405060708,
          .num_values = 7,
          .payload_bytes = 8,
          .state_digest = 0xfedcba9876543210};
}

std::vector<std::byte> sample_payload() {
  return testing::from_hex("0000803f12345607");
}

std::vector<std::byte> sample_message() {
  const std::vector<std::byte> payload = sample_payload();
  std::vector<std::byte> message(kWireHeaderBytes);
  write_header(sample_info(), payload, std::span(message).first<kWireHeaderBytes>());
  message.insert(message.end(), payload.begin(), payload.end());
  return message;
}

std::string field_refused(std::span<const std::byte> message, const WireInfo& expected) {
  try {
    read_message(message, expected);
  } catch (const WireError& error) {
    return error.field();
  }
  return "nothing";
}

TEST(WireHeader, HasTheseBytes) {
  EXPECT_EQ(testing::to_hex(sample_message()),
            "5457504c0100060100010000030000000200000001000000080706050403020107000000000000000800000000000000"
            "10325476"
            "98badcfef4f153782d5be8460000803f12345607");
}

TEST(WireHeader, IsHashedAsTheSeedOfThePayloadsHash) {
  const std::vector<std::byte> message = sample_message();
  std::uint64_t checksum;
  std::memcpy(&checksum, message.data() + 56, sizeof checksum);
  EXPECT_EQ(checksum,
            XXH3_64bits_withSeed(message.data() + kWireHeaderBytes, message.size() - kWireHeaderBytes,
                                 XXH3_64bits(message.data(), 56)));
}

TEST(WireHeader, HoldsUnsignedNumbers) {
  WireInfo info = sample_info();
  info.fragment = info.worker = info.segment = 0xfffffffe;
  info.step = ~std::uint64_t{0} - 1;
  const std::vector<std::byte> payload = sample_payload();
  std::vector<std::byte> message(kWireHeaderBytes);
  write_header(info, payload, std::span(message).first<kWireHeaderBytes>());
  message.insert(message.end(), payload.begin(), payload.end());
  const WireInfo read = inspect_message(message);
  EXPECT_EQ(read.fragment, 0xfffffffe);
  EXPECT_EQ(read.worker, 0xfffffffe);
  EXPECT_EQ(read.segment, 0xfffffffe);
  EXPECT_EQ(read.step, info.step);
}

TEST(WireHeader, GivesBackPayloadAndDigest) {
  const std::vector<std::byte> message = sample_message();
  const WireMessage read = read_message(message, sample_info());
  EXPECT_EQ(testing::to_hex(read.payload), testing::to_hex(sample_payload()));
  EXPECT_EQ(read.payload.data(), message.data() + kWireHeaderBytes);
  EXPECT_EQ(read.state_digest, 0xfedcba9876543210u);
}

TEST(WireHeader, NamesTheFieldThatDiffers) {
  const std::vector<std::pair<std::string, std::function<void(WireInfo&)>>> changes = {
      {"codec", [](WireInfo& info) { info.codec = 5; }},
      {"rounding", [](WireInfo& info) { info.rounding = Rounding::kNearest; }},
      {"leg", [](WireInfo& info) { info.leg = 0; }},
      {"rotated", [](WireInfo& info) { info.rotated = true; }},
      {"k", [](WireInfo& info) { info.k = 64; }},
      {"block", [](WireInfo& info) { info.block = 128; }},
      {"fragment", [](WireInfo& info) { info.fragment = 4; }},
      {"worker", [](WireInfo& info) { info.worker = 0; }},
      {"step", [](WireInfo& info) { info.step = 60; }},
      {"num_values", [](WireInfo& info) { info.num_values = std::uint64_t{1} << 63; }},
      {"segment", [](WireInfo& info) { info.segment = 1; }},
      {"payload_bytes", [](WireInfo& info) { info.payload_bytes = 9; }},
  };
  for (const auto& [field, change] : changes) {
    WireInfo expected = sample_info();
    change(expected);
    EXPECT_EQ(field_refused(sample_message(), expected), field);
  }
}

TEST(WireHeader, SaysWhatWasExpectedAndFound) {
  WireInfo expected = sample_info();
  expected.step = 60;
  try {
    read_message(sample_message(), expected);
    FAIL();
  } catch (const WireError& error) {
    EXPECT_THAT(error.what(), HasSubstr("expected step 60, found 72623859790382856"));
  }
}

TEST(WireHeader, RefusesEveryTruncation) {
  const std::vector<std::byte> message = sample_message();
  for (std::size_t length = 0; length < message.size(); ++length) {
    EXPECT_EQ(field_refused(std::span(message).first(length), sample_info()), "message length") << length;
  }
}

TEST(WireHeader, RefusesEveryFlippedBit) {
  const std::vector<std::byte> message = sample_message();
  for (std::size_t bit = 0; bit < 8 * message.size(); ++bit) {
    std::vector<std::byte> damaged = message;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(field_refused(damaged, sample_info()), "nothing") << "bit " << bit;
  }
}

// The lengths that a message claims, up to those whose sum with the header wraps.
TEST(WireHeader, InspectsNoMessageThatClaimsAnotherLength) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 63;
  EXPECT_EQ(inspect_message(sample_message()).step, sample_info().step);
  for (const std::uint64_t claimed : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{9}, kHuge,
                                      0 - std::uint64_t{64}, 0 - std::uint64_t{56}, ~std::uint64_t{0}}) {
    std::vector<std::byte> message = sample_message();
    std::memcpy(message.data() + 40, &claimed, sizeof claimed);
    for (const std::size_t length :
         {message.size(), kWireHeaderBytes, kWireHeaderBytes - 1, std::size_t{0}}) {
      EXPECT_THROW(inspect_message(std::span(message).first(length)), WireError) << claimed << " " << length;
    }
  }
}

TEST(WireHeader, RefusesAPayloadOfAnotherSize) {
  const std::vector<std::byte> payload(9);
  std::array<std::byte, kWireHeaderBytes> header;
  EXPECT_THROW(write_header(sample_info(), payload, header), std::invalid_argument);
}

TEST(WireHeader, CarriesTheSegmentBesideTheNumberOfItsValues) {
  WireInfo info = sample_info();
  info.segment = 0x01020304;
  const std::vector<std::byte> payload = sample_payload();
  std::vector<std::byte> message(kWireHeaderBytes);
  write_header(info, payload, std::span(message).first<kWireHeaderBytes>());
  message.insert(message.end(), payload.begin(), payload.end());
  EXPECT_EQ(testing::to_hex(std::span(message).subspan(36, 4)), "04030201");
  EXPECT_EQ(field_refused(message, sample_info()), "segment");
  EXPECT_EQ(inspect_message(message).segment, info.segment);
}

TEST(WireHeader, RefusesMoreValuesThanItCanCount) {
  WireInfo info = sample_info();
  info.num_values = std::uint64_t{1} << 32;
  std::array<std::byte, kWireHeaderBytes> header;
  EXPECT_THROW(write_header(info, sample_payload(), header), std::invalid_argument);
}

TEST(WireHeader, DescribesACodecsPayload) {
  const auto codec = make_codec({.name = "int4", .block = 64, .rounding = Rounding::kStochastic});
  const WireInfo info = wire_info(*codec, 100);
  EXPECT_EQ(info.codec, 6);
  EXPECT_EQ(info.rounding, Rounding::kStochastic);
  EXPECT_EQ(info.block, 64u);
  EXPECT_EQ(info.num_values, 100u);
  EXPECT_EQ(info.payload_bytes, 2 * 4 + 50u);
}

// Headers of codecs of before: 0 in the bytes 21 to 23.
TEST(WireHeader, NamesKForSparseCodecsOnlyAndRotation) {
  const WireInfo dense = wire_info(*make_codec({.name = "int4", .k = 7}), 100);
  EXPECT_EQ(dense.k, 0);
  EXPECT_FALSE(dense.rotated);
  EXPECT_TRUE(wire_info(*make_codec({.name = "int4", .rotate = true}), 100).rotated);

  const WireInfo sparse = wire_info(*make_codec({.name = "topk", .k = 4096}), 100);
  EXPECT_EQ(sparse.codec, 13);
  EXPECT_EQ(sparse.block, 4096u);
  EXPECT_EQ(sparse.k, 4096);
}

TEST(WireHeader, PutsRotationInByte21AndKInTheNextTwo) {
  WireInfo info = sample_info();
  info.rotated = true;
  info.k = 0x0203;
  const std::vector<std::byte> payload = sample_payload();
  std::array<std::byte, kWireHeaderBytes> header;
  write_header(info, payload, header);
  EXPECT_EQ(testing::to_hex(std::span(header).subspan(20, 4)), "01010302");

  std::vector<std::byte> message(header.begin(), header.end());
  message.insert(message.end(), payload.begin(), payload.end());
  EXPECT_EQ(inspect_message(message).k, 0x0203);
  EXPECT_TRUE(inspect_message(message).rotated);
}

}  // namespace
}  // namespace thinwire::quant
