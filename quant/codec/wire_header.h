// The 64 bytes in front of every payload on the wire: what it is, of whom and when, and a checksum over both.
// A receiver knows what to expect; whatever differs is refused before the payload is looked at.
// Layout, little-endian, in docs/wire_format.md. Thread safety: free functions without state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "quant/codec/codec.h"

namespace thinwire::quant {

inline constexpr std::size_t kWireHeaderBytes = 64;
inline constexpr std::uint16_t kWireVersion = 1;

// What sender and receiver agree on beforehand, and the sender's digest, which rides along.
struct WireInfo {
  std::uint8_t codec = 0;  // Codec::wire_id()
  Rounding rounding = Rounding::kNearest;
  std::uint8_t leg = 0;  // number of the exchange within one mean
  bool rotated = false;
  std::uint16_t k = 0;  // topk: values kept of a chunk; 0 for the other codecs
  std::uint32_t block = 0;
  std::uint32_t fragment = 0;
  std::uint32_t worker = 0;  // the sender
  std::uint64_t step = 0;
  std::uint64_t num_values = 0;  // of this message, below 2^32
  std::uint32_t segment = 0;     // its number, where a payload travels in several messages
  std::uint64_t payload_bytes = 0;
  std::uint64_t state_digest = 0;  // of the sender's agreed state; not compared by read_message
};

// Fills codec, rounding, rotated, k, block, num_values and payload_bytes.
WireInfo wire_info(const Codec& codec, std::size_t num_values);

// A message that is not what was expected: the field, the expected and the found value.
class WireError : public std::runtime_error {
 public:
  WireError(std::string field, const std::string& expected, const std::string& found,
            const std::string& advice);
  const std::string& field() const { return field_; }

 private:
  std::string field_;
};

// header: the message's first bytes; payload: what follows, info.payload_bytes of it
// (std::invalid_argument otherwise, and for 2^32 values or more).
void write_header(const WireInfo& info, std::span<const std::byte> payload,
                  std::span<std::byte, kWireHeaderBytes> header);

struct WireMessage {
  std::span<const std::byte> payload;  // into the message given
  std::uint64_t state_digest = 0;
};

// message: header and payload as received, of any content and length. Throws WireError at the first field
// that is not the expected one, in the order magic, version, fields of WireInfo, length, checksum
// (the length first where there is no whole header).
WireMessage read_message(std::span<const std::byte> message, const WireInfo& expected);

// What a whole message says of itself, for inspection; refused as by read_message, checksum included.
WireInfo inspect_message(std::span<const std::byte> message);

}  // namespace thinwire::quant
