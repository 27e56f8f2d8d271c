#include "quant/codec/wire_header.h"

#include <xxhash.h>

#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "quant/codec/topk_codec.h"

// The same hash by the widest vectors that the processor has: the library chooses when asked by this header,
// which it brings on x86 alone.
#if __has_include(<xxh_x86dispatch.h>) && defined(__x86_64__)
#include <xxh_x86dispatch.h>
#endif

namespace thinwire::quant {
namespace {

struct PackedHeader {
  std::array<char, 4> magic;
  std::uint16_t version;
  std::uint8_t codec;
  std::uint8_t rounding;
  std::uint32_t block;
  std::uint32_t fragment;
  std::uint32_t worker;
  std::uint8_t leg;
  std::uint8_t rotated;
  std::uint16_t k;
  std::uint64_t step;
  std::uint32_t num_values;
  std::uint32_t segment;
  std::uint64_t payload_bytes;
  std::uint64_t state_digest;
  std::uint64_t checksum;
};
static_assert(sizeof(PackedHeader) == kWireHeaderBytes);
static_assert(offsetof(PackedHeader, k) == 22);
static_assert(offsetof(PackedHeader, step) == 24);
static_assert(offsetof(PackedHeader, checksum) == 56);

constexpr std::array<char, 4> kMagic = {'T', 'W', 'P', 'L'};

// Covers the header too: its hash seeds that of the payload.
std::uint64_t checksum_of(const PackedHeader& header, std::span<const std::byte> payload) {
  const std::uint64_t seed = XXH3_64bits(&header, offsetof(PackedHeader, checksum));
  return XXH3_64bits_withSeed(payload.data(), payload.size(), seed);
}

void expect(const char* field, std::uint64_t expected, std::uint64_t found, const char* advice) {
  if (expected != found) throw WireError(field, std::to_string(expected), std::to_string(found), advice);
}

std::string hex(std::uint64_t value) {
  std::string digits = "0x";
  for (int shift = 60; shift >= 0; shift -= 4) digits += "0123456789abcdef"[(value >> shift) & 15];
  return digits;
}

std::string printable(std::array<char, 4> magic) {
  std::string text = "'";
  for (const char c : magic) text += c >= ' ' && c <= '~' ? c : '?';
  return text + "'";
}

constexpr const char* kConfigAdvice =
    "the workers' configs differ; compare [outer] codec, block, rounding, k and rotate";
constexpr const char* kPhaseAdvice = "the workers are out of step; restart all of them from one checkpoint";
constexpr const char* kCorruptAdvice = "the message was damaged or comes from another program";

}  // namespace

WireError::WireError(std::string field, const std::string& expected, const std::string& found,
                     const std::string& advice)
    : std::runtime_error("wire message: expected " + field + " " + expected + ", found " + found + "; " +
                         advice),
      field_(std::move(field)) {}

WireInfo wire_info(const Codec& codec, std::size_t num_values) {
  return {.codec = codec.wire_id(),
          .rounding = codec.rounding(),
          .rotated = codec.options().rotate,
          .k = is_sparse(codec) ? static_cast<std::uint16_t>(codec.options().k) : std::uint16_t{0},
          .block = static_cast<std::uint32_t>(codec.block()),
          .num_values = num_values,
          .payload_bytes = codec.encoded_bytes(num_values)};
}

void write_header(const WireInfo& info, std::span<const std::byte> payload,
                  std::span<std::byte, kWireHeaderBytes> header) {
  if (payload.size() != info.payload_bytes) {
    throw std::invalid_argument("write_header: payload_bytes says " + std::to_string(info.payload_bytes) +
                                ", the payload has " + std::to_string(payload.size()));
  }
  if (info.num_values > std::numeric_limits<std::uint32_t>::max()) {
    throw std::invalid_argument("write_header: a message holds fewer than 2^32 values, num_values says " +
                                std::to_string(info.num_values) + "; send it in segments");
  }
  PackedHeader packed{.magic = kMagic,
                      .version = kWireVersion,
                      .codec = info.codec,
                      .rounding = static_cast<std::uint8_t>(info.rounding),
                      .block = info.block,
                      .fragment = info.fragment,
                      .worker = info.worker,
                      .leg = info.leg,
                      .rotated = info.rotated,
                      .k = info.k,
                      .step = info.step,
                      .num_values = static_cast<std::uint32_t>(info.num_values),
                      .segment = info.segment,
                      .payload_bytes = info.payload_bytes,
                      .state_digest = info.state_digest,
                      .checksum = 0};
  packed.checksum = checksum_of(packed, payload);
  std::memcpy(header.data(), &packed, sizeof packed);
}

WireMessage read_message(std::span<const std::byte> message, const WireInfo& expected) {
  const std::uint64_t length = kWireHeaderBytes + expected.payload_bytes;
  // A length that differs because the configs differ is better explained by the fields.
  if (message.size() < kWireHeaderBytes) expect("message length", length, message.size(), kCorruptAdvice);
  PackedHeader packed;
  std::memcpy(&packed, message.data(), sizeof packed);
  if (packed.magic != kMagic) {
    throw WireError("magic", printable(kMagic), printable(packed.magic), kCorruptAdvice);
  }
  expect("version", kWireVersion, packed.version, "run the same release on all workers");
  expect("codec", expected.codec, packed.codec, kConfigAdvice);
  expect("rounding", static_cast<std::uint64_t>(expected.rounding), packed.rounding, kConfigAdvice);
  expect("leg", expected.leg, packed.leg, kPhaseAdvice);
  expect("rotated", expected.rotated, packed.rotated, kConfigAdvice);
  expect("k", expected.k, packed.k, kConfigAdvice);
  expect("block", expected.block, packed.block, kConfigAdvice);
  expect("fragment", expected.fragment, packed.fragment, kPhaseAdvice);
  expect("worker", expected.worker, packed.worker, kPhaseAdvice);
  expect("step", expected.step, packed.step, kPhaseAdvice);
  expect("num_values", expected.num_values, packed.num_values, kConfigAdvice);
  expect("segment", expected.segment, packed.segment, kPhaseAdvice);
  expect("payload_bytes", expected.payload_bytes, packed.payload_bytes, kConfigAdvice);
  expect("message length", length, message.size(), kCorruptAdvice);

  const std::span<const std::byte> payload = message.subspan(kWireHeaderBytes);
  const std::uint64_t checksum = checksum_of(packed, payload);
  if (checksum != packed.checksum) {
    throw WireError("checksum", hex(checksum), hex(packed.checksum), kCorruptAdvice);
  }
  return {.payload = payload, .state_digest = packed.state_digest};
}

WireInfo inspect_message(std::span<const std::byte> message) {
  PackedHeader packed{};
  if (message.size() >= sizeof packed) std::memcpy(&packed, message.data(), sizeof packed);
  WireInfo info{.codec = packed.codec,
                .rounding = static_cast<Rounding>(packed.rounding),
                .leg = packed.leg,
                .rotated = packed.rotated == 1,
                .k = packed.k,
                .block = packed.block,
                .fragment = packed.fragment,
                .worker = packed.worker,
                .step = packed.step,
                .num_values = packed.num_values,
                .segment = packed.segment,
                .payload_bytes = packed.payload_bytes};
  info.state_digest = read_message(message, info).state_digest;
  return info;
}

}  // namespace thinwire::quant
