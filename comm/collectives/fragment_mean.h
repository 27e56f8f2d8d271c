// What both return legs share: the spec, the codec, where values come from and where their mean goes.
//
// A mean works on a payload that was coded before, and keeps what arrives until decode_mean is called; or on
// values, which it codes and decodes itself, a segment at a time, and keeps only what is under way.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "comm/collectives/frame.h"
#include "comm/collectives/lane.h"
#include "comm/collectives/segments.h"
#include "comm/mean.h"

namespace thinwire::comm {

// What a mean is made of; one of the two forms.
struct MeanParts {
  Buffer payload{};
  EncodePart encode{};  // empty: the payload holds the values
  std::span<float> mean{};
};

class FragmentMean : public CodedMean {
 public:
  // Throws std::invalid_argument if the payload has another size.
  FragmentMean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec, std::size_t num_values,
               MeanParts parts);

  const MeanSpec& spec() const override { return spec_; }
  std::span<const std::byte> payload() const override { return parts_.payload; }
  void decode_mean(std::span<float> mean) const final;
  std::vector<std::uint64_t> state_digests() const override { return state_digests_; }
  std::vector<std::uint64_t> sent_bytes() const override { return sent_bytes_; }

 protected:
  using Range = quant::Range;

  using Payloads = std::span<const quant::CodedValues>;

  bool decodes_on_arrival() const { return parts_.encode != nullptr; }
  // A frame of the own values of a range, but for its header.
  Buffer own_frame(const Range& range);
  // An exchange of frames; counts what it sends. outgoing[rank] is empty.
  static constexpr std::size_t kNothing = static_cast<std::size_t>(-1);
  struct Request {
    FrameAddress address;
    std::vector<std::span<const std::byte>> outgoing;
    std::vector<std::size_t> num_values;  // of each rank's message, kNothing for none
  };
  std::unique_ptr<Work> start(Communicator& communicator, std::uint64_t id, Request request);
  // The payload in a peer's frame, checked.
  std::span<const std::byte> open(const Communicator& communicator, const Buffer& frame,
                                  const quant::WireInfo& expected);
  // The sum of what the payloads hold, over their number.
  void mean_of(Payloads payloads, std::span<float> mean) const;
  // Memory for frames to come.
  void recycle(Buffer frame) { spare_frames_.push_back(std::move(frame)); }
  Buffer new_frame(std::size_t num_values);

  const MeanSpec spec_;
  // Shared: the engine may hold a mean longer than the loop that made it lives (a run that stops).
  const std::shared_ptr<const quant::Codec> codec_;
  const std::size_t num_values_;
  const MeanParts parts_;
  std::vector<std::uint64_t> state_digests_;
  std::vector<std::uint64_t> sent_bytes_;  // by leg

 private:
  std::vector<Buffer> spare_frames_;
};

std::shared_ptr<CodedMean> make_gather_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, MeanParts parts);
std::shared_ptr<CodedMean> make_reduce_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, MeanParts parts);

}  // namespace thinwire::comm
