// One payload with its wire header, as it travels.
#pragma once

#include <cstdint>
#include <span>

#include "comm/mean.h"
#include "quant/codec/wire_header.h"

namespace thinwire::comm {

// Which of a mean's messages.
struct FrameAddress {
  unsigned leg = 0;         // 0: of the workers' values, 1: of their mean
  std::size_t segment = 0;  // of what leg sends from one worker to another
  int worker = 0;           // the sender
};

// What the sender writes into the header of num_values values.
quant::WireInfo frame_info(const MeanSpec& spec, const quant::Codec& codec, std::size_t num_values,
                           const FrameAddress& address);

// Fills the first kWireHeaderBytes of a frame whose payload is already behind them.
void seal_frame(const quant::WireInfo& info, Buffer& frame);

inline std::span<const std::byte> payload_of(const Buffer& frame) {
  return std::span(frame).subspan(quant::kWireHeaderBytes);
}
inline std::span<std::byte> payload_of(Buffer& frame) {
  return std::span(frame).subspan(quant::kWireHeaderBytes);
}

// Limit on the frame of num_values values from a peer: that of any codec, so that a peer with another codec
// is refused by what its header says and not for its size alone.
std::size_t max_frame_bytes(const quant::Codec& codec, std::size_t num_values);

// The message of a frame, checked against what was expected from rank expected.worker. Throws CommError
// kBadMessage that names the field and both sides' values.
quant::WireMessage open_frame(const Buffer& frame, const quant::WireInfo& expected, int rank);

// "fragment 2 at step 60, gather, segment 0"
std::string describe(const MeanSpec& spec, const FrameAddress& address);

}  // namespace thinwire::comm
