#include "comm/collectives/fragment_mean.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "quant/kernel/outer_ops.h"

namespace thinwire::comm {

FragmentMean::FragmentMean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                           std::size_t num_values, MeanParts parts)
    : spec_(spec), codec_(std::move(codec)), num_values_(num_values), parts_(std::move(parts)) {
  const std::size_t expected = codec_->encoded_bytes(num_values);
  if (!decodes_on_arrival() && parts_.payload.size() != expected) {
    throw std::invalid_argument(
        fmt::format("[mean] fragment {}: {} values in {} take {} bytes, the payload has {}", spec.fragment,
                    num_values, codec_->name(), expected, parts_.payload.size()));
  }
}

void FragmentMean::decode_mean(std::span<float> mean) const {
  if (mean.size() != num_values_) {
    throw std::invalid_argument(fmt::format("[mean] fragment {} has {} values, the span for its mean has {}",
                                            spec_.fragment, num_values_, mean.size()));
  }
  if (decodes_on_arrival()) {
    if (mean.data() != parts_.mean.data()) std::ranges::copy(parts_.mean, mean.begin());
    return;
  }
  for_each_part(
      [&](const Part& part) { mean_of(part.payloads, mean.subspan(part.range.first, part.range.count)); });
}

Buffer FragmentMean::new_frame(std::size_t num_values) {
  Buffer frame;
  if (!spare_frames_.empty()) {
    frame = std::move(spare_frames_.back());
    spare_frames_.pop_back();
  }
  frame.resize(quant::kWireHeaderBytes + codec_->encoded_bytes(num_values));
  return frame;
}

Buffer FragmentMean::own_frame(const Range& range) {
  Buffer frame = new_frame(range.count);
  const auto part = std::span(frame).subspan(quant::kWireHeaderBytes);
  if (decodes_on_arrival()) {
    parts_.encode(range, part);
  } else {
    codec_->slice(parts_.payload, num_values_, range, part);
  }
  return frame;
}

std::unique_ptr<Work> FragmentMean::start(Communicator& communicator, std::uint64_t id, Request request) {
  const FrameAddress& address = request.address;
  sent_bytes_.resize(std::max<std::size_t>(sent_bytes_.size(), address.leg + 1));
  for (const auto& bytes : request.outgoing) sent_bytes_[address.leg] += bytes.size();
  state_digests_.resize(communicator.size(), spec_.state_digest);
  // The first segment asks, so that ranks that do different things find out; the others are expected.
  std::size_t max_values = 0;
  std::vector<std::size_t> sizes;
  for (const std::size_t n : request.num_values) {
    if (n != kNothing) max_values = std::max(max_values, n);
    sizes.push_back(n == kNothing ? 0 : quant::kWireHeaderBytes + codec_->encoded_bytes(n));
  }
  if (address.segment == 0) sizes.clear();
  const std::uint64_t number = address.leg * (kExchangesPerOperation / 2) + address.segment;
  return communicator.exchange({.sequence = exchange_sequence(id, number),
                                .outgoing = std::move(request.outgoing),
                                .max_bytes = max_frame_bytes(*codec_, max_values),
                                .expected_bytes = std::move(sizes),
                                .traffic = Traffic::kWire,
                                .what = describe(spec_, address)});
}

std::span<const std::byte> FragmentMean::open(const Communicator& communicator, const Buffer& frame,
                                              const quant::WireInfo& expected) {
  const quant::WireMessage message = open_frame(frame, expected, communicator.rank());
  if (expected.leg == 0) state_digests_[expected.worker] = message.state_digest;
  return message.payload;
}

// In pieces that stay in the first-level cache between the passes.
void FragmentMean::mean_of(Payloads payloads, std::span<float> mean) const {
  const std::size_t n = mean.size();
  const std::size_t piece = std::lcm(codec_->block(), std::size_t{1024});
  for (std::size_t first = 0; first < n; first += piece) {
    const auto part = mean.subspan(first, std::min(piece, n - first));
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      const quant::CodedValues& payload = payloads[i];
      i == 0 ? codec_->decode_range(payload.num_values, payload.first + first, payload.code, part)
             : codec_->decode_add_range(payload.num_values, payload.first + first, payload.code, part);
    }
    if (payloads.size() > 1) quant::divide_in_place(part, static_cast<float>(payloads.size()));
  }
}

}  // namespace thinwire::comm
