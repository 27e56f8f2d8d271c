// Messages with their 64 bytes of header: read_message, inspect_message, open_frame.
#include "comm/collectives/frame.h"

#include <algorithm>

#include "tests/fuzz/input.h"

namespace thinwire::fuzz {
namespace {

using comm::Buffer;
using quant::WireInfo;

// Bytes as they came. What is taken for a message is exactly what write_header makes of it.
void read_foreign(std::span<const std::byte> bytes) {
  const Buffer message(bytes.begin(), bytes.end());
  try {
    const WireInfo info = quant::inspect_message(message);
    require(info.payload_bytes == message.size() - quant::kWireHeaderBytes, "the length is the payload's");
    Buffer again = message;
    std::fill_n(again.begin(), quant::kWireHeaderBytes, std::byte{});
    comm::seal_frame(info, again);
    require(again == message, "an accepted message is the one that its fields give");
  } catch (const quant::WireError& error) {
    require(!error.field().empty(), "an error names its field");
  }
}

WireInfo take_info(Input& input) {
  WireInfo info;
  info.codec = input.take<std::uint8_t>();
  info.rounding = static_cast<quant::Rounding>(input.take<std::uint8_t>() % 2);
  info.leg = input.take<std::uint8_t>();
  info.block = input.take<std::uint32_t>();
  info.fragment = input.take<std::uint32_t>();
  info.worker = input.take<std::uint32_t>();
  info.step = input.take<std::uint64_t>();
  info.num_values = input.take<std::uint32_t>();
  info.segment = input.take<std::uint32_t>();
  info.state_digest = input.take<std::uint64_t>();
  return info;
}

Buffer frame_of(std::span<const std::byte> payload, const WireInfo& info) {
  Buffer frame(quant::kWireHeaderBytes + payload.size());
  std::ranges::copy(payload, frame.begin() + quant::kWireHeaderBytes);
  comm::seal_frame(info, frame);
  return frame;
}

// A good message of any fields, then damaged: cut, lengthened, or one byte of it changed.
void read_damaged(Input& input) {
  WireInfo info = take_info(input);
  const auto damage = input.take<std::uint8_t>() % 4;
  const std::size_t where = input.take<std::uint16_t>();
  const auto change = static_cast<std::byte>(input.take<std::uint8_t>());
  const auto payload = input.rest();
  info.payload_bytes = payload.size();
  Buffer frame = frame_of(payload, info);
  const Buffer whole = frame;
  if (damage == 1) frame.resize(where % frame.size());
  if (damage == 2) frame.resize(frame.size() + 1 + where % 100, change);
  if (damage == 3) frame[where % frame.size()] ^= change;
  try {
    const auto message = comm::open_frame(frame, info, 0);
    require(frame == whole, "a damaged frame is refused");
    require(message.state_digest == info.state_digest, "the digest is the sender's");
    require(std::ranges::equal(message.payload, payload), "the payload is the sender's");
  } catch (const comm::CommError& error) {
    require(frame != whole, "a good frame is accepted");
    require(error.kind() == comm::CommError::Kind::kBadMessage, "a bad frame is called that");
  }
}

Seed fields(std::uint8_t codec) {
  return Seed()
      .put(std::uint8_t{1})
      .put(codec)
      .put(std::uint8_t{0})
      .put(std::uint8_t{1})
      .put(256u)
      .put(3u)
      .put(2u);
}

}  // namespace

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  const Buffer payload(40, std::byte{0x5a});
  for (const std::uint8_t damage : {0, 1, 2, 3}) {
    Seed seed = fields(static_cast<std::uint8_t>(damage + 5));
    seed.put(std::uint64_t{60}).put(32u).put(2u).put(~std::uint64_t{0}).put(damage);
    all.push_back(seed.put(std::uint16_t{17}).put(std::uint8_t{4}).put_bytes(payload).text());
  }
  const WireInfo info = {
      .codec = 6, .block = 8, .step = 1, .num_values = 72, .payload_bytes = payload.size()};
  all.push_back(Seed().put(std::uint8_t{0}).put_bytes(frame_of(payload, info)).text());
  return all;
}

}  // namespace thinwire::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  thinwire::fuzz::Input input(data, size);
  if (input.take<std::uint8_t>() % 2 == 0) {
    thinwire::fuzz::read_foreign(input.rest());
  } else {
    thinwire::fuzz::read_damaged(input);
  }
  return 0;
}
