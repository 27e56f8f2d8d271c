// The gather leg: one all-gather of the workers' frames.
// Steps: 1. Bytes sent by each worker: (M-1) * (64 + S). Error: that of the codec, once.
#include <utility>

#include "comm/collectives/fragment_mean.h"
#include "quant/kernel/outer_ops.h"

namespace thinwire::comm {

namespace {

class GatherMean final : public FragmentMean {
 public:
  using FragmentMean::FragmentMean;

  bool advance(Communicator& communicator, std::uint64_t id) override {
    if (!work_) {
      seal_frame(frame_info(spec_, *codec_, num_values_, communicator.rank(), 0), own_frame_);
      work_ = start(communicator, id, 0,
                    std::vector<std::span<const std::byte>>(communicator.size(), own_frame_), num_values_);
    }
    if (!work_->test()) return false;
    frames_ = work_->take();
    work_.reset();
    for (int r = 0; r < communicator.size(); ++r) {
      const auto expected = frame_info(spec_, *codec_, num_values_, r, 0);
      state_digests_.push_back(open_frame(frames_[r], expected, communicator.rank()).state_digest);
    }
    return true;
  }

  void decode_mean(std::span<float> mean) const override {
    check_mean(mean);
    codec_->decode(payload_of(frames_[0]), mean);
    for (std::size_t r = 1; r < frames_.size(); ++r) codec_->decode_add(payload_of(frames_[r]), mean);
    quant::divide_in_place(mean, static_cast<float>(frames_.size()));
  }

 private:
  std::vector<Buffer> frames_;  // by rank
};

}  // namespace

std::shared_ptr<CodedMean> make_gather_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, const Buffer& payload) {
  return std::make_shared<GatherMean>(spec, std::move(codec), num_values, payload);
}

}  // namespace thinwire::comm
