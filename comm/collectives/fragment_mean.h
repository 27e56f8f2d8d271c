// What both return legs share: the spec, the codec and the own frame.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "comm/collectives/frame.h"
#include "comm/mean.h"

namespace thinwire::comm {

class FragmentMean : public CodedMean {
 public:
  FragmentMean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec, std::size_t num_values,
               const Buffer& payload);

  const MeanSpec& spec() const override { return spec_; }
  std::span<const std::byte> payload() const override { return payload_of(own_frame_); }
  std::optional<Clock::time_point> next_event() const override;
  std::vector<std::uint64_t> state_digests() const override { return state_digests_; }
  std::vector<std::uint64_t> sent_bytes() const override { return sent_bytes_; }

 protected:
  // An exchange of frames, of at most max_values values each; counts what it sends.
  std::unique_ptr<Work> start(Communicator& communicator, std::uint64_t id, unsigned leg,
                              std::vector<std::span<const std::byte>> outgoing, std::size_t max_values);
  // Throws std::invalid_argument if `mean` has another size.
  void check_mean(std::span<float> mean) const;

  const MeanSpec spec_;
  // Shared: the engine may hold a mean longer than the loop that made it lives (a run that stops).
  const std::shared_ptr<const quant::Codec> codec_;
  const std::size_t num_values_;
  Buffer own_frame_;
  std::unique_ptr<Work> work_;
  std::vector<std::uint64_t> state_digests_;
  std::vector<std::uint64_t> sent_bytes_;
};

std::shared_ptr<CodedMean> make_gather_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, const Buffer& payload);
std::shared_ptr<CodedMean> make_reduce_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, const Buffer& payload);

}  // namespace thinwire::comm
