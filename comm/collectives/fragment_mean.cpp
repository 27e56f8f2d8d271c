#include "comm/collectives/fragment_mean.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace thinwire::comm {

FragmentMean::FragmentMean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                           std::size_t num_values, const Buffer& payload)
    : spec_(spec),
      codec_(std::move(codec)),
      num_values_(num_values),
      own_frame_(quant::kWireHeaderBytes + payload.size()) {
  if (payload.size() != codec_->encoded_bytes(num_values)) {
    throw std::invalid_argument(
        fmt::format("[mean] fragment {}: {} values in {} take {} bytes, the payload has {}", spec.fragment,
                    num_values, codec_->name(), codec_->encoded_bytes(num_values), payload.size()));
  }
  std::copy(payload.begin(), payload.end(), own_frame_.begin() + quant::kWireHeaderBytes);
}

std::optional<Clock::time_point> FragmentMean::next_event() const {
  return work_ ? work_->next_event() : std::nullopt;
}

std::unique_ptr<Work> FragmentMean::start(Communicator& communicator, std::uint64_t id, unsigned leg,
                                          std::vector<std::span<const std::byte>> outgoing,
                                          std::size_t max_values) {
  std::uint64_t sent = 0;
  for (int r = 0; r < communicator.size(); ++r) sent += r == communicator.rank() ? 0 : outgoing[r].size();
  sent_bytes_.push_back(sent);
  const char* exchange = spec_.leg == Leg::kGather ? "gather" : leg == 0 ? "reduce, chunks" : "reduce, means";
  return communicator.exchange({.sequence = exchange_sequence(id, leg),
                                .outgoing = std::move(outgoing),
                                .max_bytes = max_frame_bytes(*codec_, max_values),
                                .traffic = Traffic::kWire,
                                .what = describe(spec_, exchange)});
}

void FragmentMean::check_mean(std::span<float> mean) const {
  if (mean.size() != num_values_) {
    throw std::invalid_argument(fmt::format("[mean] fragment {} has {} values, the span for its mean has {}",
                                            spec_.fragment, num_values_, mean.size()));
  }
}

}  // namespace thinwire::comm
