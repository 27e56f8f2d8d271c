#include "comm/collectives/frame.h"

#include <fmt/format.h>

#include <algorithm>

namespace thinwire::comm {

quant::WireInfo frame_info(const MeanSpec& spec, const quant::Codec& codec, std::size_t num_values,
                           const FrameAddress& address) {
  quant::WireInfo info = quant::wire_info(codec, num_values);
  info.leg = static_cast<std::uint8_t>(address.leg);
  info.fragment = spec.fragment;
  info.worker = static_cast<std::uint32_t>(address.worker);
  info.segment = static_cast<std::uint32_t>(address.segment);
  info.step = spec.step;
  info.state_digest = spec.state_digest;
  return info;
}

void seal_frame(const quant::WireInfo& info, Buffer& frame) {
  quant::write_header(info, payload_of(frame), std::span(frame).first<quant::kWireHeaderBytes>());
}

std::size_t max_frame_bytes(const quant::Codec& codec, std::size_t num_values) {
  const std::size_t float_bytes = sizeof(float) * (num_values + 1);
  return quant::kWireHeaderBytes + std::max(codec.encoded_bytes(num_values), float_bytes);
}

quant::WireMessage open_frame(const Buffer& frame, const quant::WireInfo& expected, int rank) {
  try {
    return quant::read_message(frame, expected);
  } catch (const quant::WireError& error) {
    throw CommError(
        CommError::Kind::kBadMessage,
        fmt::format("[mean] rank {}, peer {}: fragment {} at step {}, exchange {}, segment {}: {}", rank,
                    expected.worker, expected.fragment, expected.step, expected.leg, expected.segment,
                    error.what()));
  }
}

std::string describe(const MeanSpec& spec, const FrameAddress& address) {
  const char* exchange = spec.leg == Leg::kGather ? "gather"
                         : address.leg == 0       ? "reduce, chunks"
                                                  : "reduce, means";
  return fmt::format("fragment {} at step {}, {}, segment {}", spec.fragment, spec.step, exchange,
                     address.segment);
}

}  // namespace thinwire::comm
