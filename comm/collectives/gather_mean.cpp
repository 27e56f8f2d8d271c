// The gather leg: an all-gather of the workers' frames, a segment of the fragment at a time.
// Steps: 1, pipelined. Bytes sent by each worker: (M-1) * (64 C + S), C segments. Error: that of the codec,
// once.
#include <utility>

#include "comm/collectives/fragment_mean.h"

namespace thinwire::comm {

namespace {

class GatherMean final : public FragmentMean {
 public:
  GatherMean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec, std::size_t num_values,
             MeanParts parts)
      : FragmentMean(spec, std::move(codec), num_values, std::move(parts)),
        segments_(*codec_, num_values),
        lane_(segments_.count()) {}

  bool advance(Communicator& communicator, std::uint64_t id) override {
    while (lane_.may_start(communicator)) send(communicator, id);
    if (lane_.oldest_is_complete()) receive(communicator);
    return lane_.done();
  }

  std::optional<Clock::time_point> next_event() const override { return lane_.next_event(); }

  void for_each_part(const std::function<void(const Part&)>& take) const override {
    std::vector<quant::CodedValues> payloads;
    for (std::size_t s = 0; s < kept_.size(); ++s) {
      const Range range = segments_[s];
      payloads.clear();
      for (const Buffer& frame : kept_[s]) {  // empty: the own values, which the payload holds
        payloads.push_back(frame.empty() ? quant::CodedValues{payload(), num_values_, range.first}
                                         : quant::CodedValues{payload_of(frame), range.count});
      }
      take({range, payloads});
    }
  }

 private:
  void send(Communicator& communicator, std::uint64_t id) {
    const std::size_t segment = lane_.next();
    const Range range = segments_[segment];
    std::vector<Buffer> frames;
    frames.push_back(own_frame(range));
    seal_frame(info_of(segment, communicator.rank()), frames[0]);
    std::vector<std::span<const std::byte>> outgoing(communicator.size(), frames[0]);
    outgoing[communicator.rank()] = {};
    lane_.start(std::move(frames), [&] {
      return start(communicator, id,
                   {.address = {.segment = segment},
                    .outgoing = std::move(outgoing),
                    .num_values = std::vector<std::size_t>(communicator.size(), range.count)});
    });
  }

  void receive(Communicator& communicator) {
    const std::size_t segment = lane_.oldest();
    Lane::Ended ended = lane_.take_oldest();
    const Range range = segments_[segment];
    std::vector<quant::CodedValues> payloads(communicator.size(), {.num_values = range.count});
    for (int r = 0; r < communicator.size(); ++r) {
      payloads[r].code = r == communicator.rank()
                             ? payload_of(ended.sent[0])
                             : open(communicator, ended.received[r], info_of(segment, r));
    }
    if (decodes_on_arrival()) {
      mean_of(payloads, parts_.mean.subspan(range.first, range.count));
      for (Buffer& frame : ended.received) communicator.reuse(std::move(frame));
    } else {
      kept_.push_back(std::move(ended.received));
    }
    recycle(std::move(ended.sent[0]));
  }

  quant::WireInfo info_of(std::size_t segment, int worker) const {
    return frame_info(spec_, *codec_, segments_[segment].count, {.segment = segment, .worker = worker});
  }

  const Segments segments_;
  Lane lane_;
  std::vector<std::vector<Buffer>> kept_;  // by segment, by rank; the own ones are empty
};

}  // namespace

std::shared_ptr<CodedMean> make_gather_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, MeanParts parts) {
  return std::make_shared<GatherMean>(spec, std::move(codec), num_values, std::move(parts));
}

}  // namespace thinwire::comm
