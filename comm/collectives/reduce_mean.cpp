// The reduce leg: every rank owns one chunk of the fragment (comm/collectives/chunks.h), takes the mean of it
// and sends it, coded again, to everybody. Steps: 2. Bytes sent by rank r: sum over q != r of (64 + S_q),
// then (M-1) * (64 + S_r), where S_q is the size of chunk q; about 2 (M-1)/M * S. Error: that of the codec
// twice, the second time of the mean.
#include <algorithm>
#include <utility>

#include "comm/collectives/chunks.h"
#include "comm/collectives/fragment_mean.h"
#include "quant/kernel/outer_ops.h"

namespace thinwire::comm {

namespace {

class ReduceMean final : public FragmentMean {
 public:
  using FragmentMean::FragmentMean;

  bool advance(Communicator& communicator, std::uint64_t id) override {
    if (phase_ == Phase::kNew) send_chunks(communicator, id);
    if (!work_->test()) return false;
    std::vector<Buffer> frames = work_->take();
    if (phase_ == Phase::kChunks) {
      const std::vector<float> mean = mean_of_own_chunk(communicator, frames);
      send_mean(communicator, id, mean);
      return false;
    }
    check_means(communicator, frames);
    mean_frames_ = std::move(frames);
    work_.reset();
    outgoing_.clear();
    return true;
  }

  void decode_mean(std::span<float> mean) const override {
    check_mean(mean);
    const int size = static_cast<int>(mean_frames_.size());
    for (int r = 0; r < size; ++r) {
      const Chunk chunk = chunk_of(r, size, num_values_, codec_->block());
      codec_->decode(payload_of(mean_frames_[r]), mean.subspan(chunk.first, chunk.num_values));
    }
  }

 private:
  enum class Phase { kNew, kChunks, kMeans };

  void send_chunks(Communicator& communicator, std::uint64_t id) {
    const int size = communicator.size();
    for (int r = 0; r < size; ++r) {
      const Chunk chunk = chunk_of(r, size, num_values_, codec_->block());
      Buffer frame(quant::kWireHeaderBytes + codec_->encoded_bytes(chunk.num_values));
      codec_->slice(payload(), num_values_, {chunk.first, chunk.num_values},
                    std::span(frame).subspan(quant::kWireHeaderBytes));
      seal_frame(frame_info(spec_, *codec_, chunk.num_values, communicator.rank(), 0), frame);
      outgoing_.push_back(std::move(frame));
    }
    const Chunk own = chunk_of(communicator.rank(), size, num_values_, codec_->block());
    work_ = start(communicator, id, 0, {outgoing_.begin(), outgoing_.end()}, own.num_values);
    phase_ = Phase::kChunks;
  }

  std::vector<float> mean_of_own_chunk(Communicator& communicator, const std::vector<Buffer>& frames) {
    const int size = communicator.size();
    const Chunk own = chunk_of(communicator.rank(), size, num_values_, codec_->block());
    std::vector<float> sum(own.num_values);
    for (int r = 0; r < size; ++r) {
      const auto message =
          open_frame(frames[r], frame_info(spec_, *codec_, own.num_values, r, 0), communicator.rank());
      state_digests_.push_back(message.state_digest);
      r == 0 ? codec_->decode(message.payload, sum) : codec_->decode_add(message.payload, sum);
    }
    quant::divide_in_place(sum, static_cast<float>(size));
    return sum;
  }

  void send_mean(Communicator& communicator, std::uint64_t id, const std::vector<float>& mean) {
    const int size = communicator.size();
    const auto rank = static_cast<std::uint32_t>(communicator.rank());
    const std::uint64_t key = quant::stream_key(
        {.seed = spec_.seed, .step = spec_.step, .worker = rank, .fragment = spec_.fragment, .leg = 1});
    outgoing_.assign(1, Buffer(quant::kWireHeaderBytes + codec_->encoded_bytes(mean.size())));
    codec_->encode(mean, key, std::span(outgoing_[0]).subspan(quant::kWireHeaderBytes));
    seal_frame(frame_info(spec_, *codec_, mean.size(), communicator.rank(), 1), outgoing_[0]);
    std::size_t max_values = 0;
    for (int r = 0; r < size; ++r) {
      max_values = std::max(max_values, chunk_of(r, size, num_values_, codec_->block()).num_values);
    }
    work_ =
        start(communicator, id, 1, std::vector<std::span<const std::byte>>(size, outgoing_[0]), max_values);
    phase_ = Phase::kMeans;
  }

  void check_means(Communicator& communicator, const std::vector<Buffer>& frames) const {
    const int size = communicator.size();
    for (int r = 0; r < size; ++r) {
      const Chunk chunk = chunk_of(r, size, num_values_, codec_->block());
      open_frame(frames[r], frame_info(spec_, *codec_, chunk.num_values, r, 1), communicator.rank());
    }
  }

  Phase phase_ = Phase::kNew;
  std::vector<Buffer> outgoing_;     // frames under way: a chunk for each rank, then the own mean
  std::vector<Buffer> mean_frames_;  // by rank
};

}  // namespace

std::shared_ptr<CodedMean> make_reduce_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, const Buffer& payload) {
  return std::make_shared<ReduceMean>(spec, std::move(codec), num_values, payload);
}

}  // namespace thinwire::comm
