// One payload with its wire header, as it travels.
#pragma once

#include <cstdint>
#include <span>

#include "comm/mean.h"
#include "quant/codec/wire_header.h"

namespace thinwire::comm {

// What rank `worker` writes into the header of num_values values for the exchange `leg` of a mean.
quant::WireInfo frame_info(const MeanSpec& spec, const quant::Codec& codec, std::size_t num_values,
                           int worker, unsigned leg);

// Fills the first kWireHeaderBytes of a frame whose payload is already behind them.
void seal_frame(const quant::WireInfo& info, Buffer& frame);

inline std::span<const std::byte> payload_of(const Buffer& frame) {
  return std::span(frame).subspan(quant::kWireHeaderBytes);
}

// Limit on the frame of num_values values from a peer: that of any codec, so that a peer with another codec
// is refused by what its header says and not for its size alone.
std::size_t max_frame_bytes(const quant::Codec& codec, std::size_t num_values);

// The message of a frame, checked against what was expected from rank expected.worker. Throws CommError
// kBadMessage that names the field and both sides' values.
quant::WireMessage open_frame(const Buffer& frame, const quant::WireInfo& expected, int rank);

// "fragment 2 at step 60, gather"
std::string describe(const MeanSpec& spec, const char* exchange);

}  // namespace thinwire::comm
