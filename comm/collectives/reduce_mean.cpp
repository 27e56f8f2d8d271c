// The reduce leg: every rank owns one chunk of the fragment (comm/collectives/chunks.h), takes the mean of it
// and sends it, coded again, to everybody; a segment of the chunks at a time. Steps: 2, pipelined: the mean
// of a segment leaves while later segments come. Bytes sent by rank r: sum over q != r of (64 C_q + S_q),
// then (M-1) * (64 C_r + S_r), where chunk q takes S_q bytes in C_q segments; about 2 (M-1)/M * S. Error:
// that of the codec twice, the second time of the mean.
//
// The walk, for two ranks and a fragment of 6 segments. Rank 0 owns the first half as its chunk, rank 1 the
// second; each chunk has the segments s0, s1 and s2. Two lanes of exchanges run beside each other:
//
//   values_   s0  s1  s2            every rank sends every other rank what it holds of that one's segment
//   means_          s0  s1  s2      every rank sends all others the mean of its own segment
//
//   1. send_values: exchange s0 of the first lane carries segment s0 of both chunks, each to its owner.
//   2. reduce: once all values of s0 are there, the owner decodes and adds the payloads in rank order, its
//      own among them, divides by M and codes the mean. Values of s1 travel meanwhile.
//   3. send_mean: exchange s0 of the second lane carries the two means. It goes before further values, since
//      everybody waits for it.
//   4. receive_means: every rank decodes both means, its own as well: what it applies is what the others
//      apply.
//
// Chunks differ in length by a block or so; an owner whose chunk has a segment less sends empty messages in
// the last exchange. Every exchange thus has all ranks in it, and its number says which segment it is of.
#include <algorithm>
#include <utility>

#include "comm/collectives/chunks.h"
#include "comm/collectives/fragment_mean.h"
#include "comm/collectives/part_encoder.h"

namespace thinwire::comm {

namespace {

// A chunk and how it is cut.
struct Chunked {
  Chunk chunk;
  Segments segments;
  bool has(std::size_t segment) const { return segment < segments.count(); }
  // Within the chunk.
  quant::Range part(std::size_t segment) const { return segments[segment]; }
  // Within the fragment.
  quant::Range range(std::size_t segment) const {
    const auto part_range = part(segment);
    return {chunk.first + part_range.first, part_range.count};
  }
};

class ReduceMean final : public FragmentMean {
 public:
  using FragmentMean::FragmentMean;

  bool advance(Communicator& communicator, std::uint64_t id) override {
    if (chunks_.empty()) cut(communicator);
    // Means first: the peers wait for them longest.
    while (means_.next() < own_means_.size() && means_.may_start(communicator)) send_mean(communicator, id);
    while (values_.may_start(communicator)) send_values(communicator, id);
    if (values_.oldest_is_complete()) reduce(communicator);
    if (means_.oldest_is_complete()) receive_means(communicator);
    return means_.done();
  }

  std::optional<Clock::time_point> next_event() const override {
    const auto values = values_.next_event();
    return values ? values : means_.next_event();
  }

  void for_each_part(const std::function<void(const Part&)>& take) const override {
    for (std::size_t segment = 0; segment < kept_.size(); ++segment)
      take_parts(segment, kept_[segment], take);
  }

 private:
  void cut(Communicator& communicator) {
    rank_ = communicator.rank();
    std::size_t most = 0;
    for (int r = 0; r < communicator.size(); ++r) {
      const Chunk chunk = chunk_of(r, communicator.size(), num_values_, codec_->block());
      chunks_.push_back({chunk, Segments(*codec_, chunk.num_values)});
      most = std::max(most, chunks_.back().segments.count());
    }
    // Ranks whose chunk has fewer segments send nothing in the last exchange.
    values_ = Lane(most);
    means_ = Lane(most);
    const std::uint64_t key = quant::stream_key({.seed = spec_.seed,
                                                 .step = spec_.step,
                                                 .worker = static_cast<std::uint32_t>(rank_),
                                                 .fragment = spec_.fragment,
                                                 .leg = 1});
    encoder_.emplace(codec_, chunks_[rank_].chunk.num_values, key);
  }

  // Values of a segment of that rank's chunk.
  std::size_t count(std::size_t rank, std::size_t segment) const {
    return chunks_[rank].has(segment) ? chunks_[rank].part(segment).count : kNothing;
  }

  // To each rank, of its own chunk.
  void send_values(Communicator& communicator, std::uint64_t id) {
    const std::size_t segment = values_.next();
    std::vector<Buffer> frames(chunks_.size());
    for (std::size_t r = 0; r < chunks_.size(); ++r) {
      if (!chunks_[r].has(segment)) continue;
      frames[r] = own_frame(chunks_[r].range(segment));
      const auto info = frame_info(spec_, *codec_, chunks_[r].part(segment).count,
                                   {.leg = 0, .segment = segment, .worker = rank_});
      if (static_cast<int>(r) != rank_) seal_frame(info, frames[r]);
    }
    std::vector<std::span<const std::byte>> outgoing(frames.begin(), frames.end());
    outgoing[rank_] = {};
    values_.start(std::move(frames), [&] {
      return start(communicator, id,
                   {.address = {.leg = 0, .segment = segment},
                    .outgoing = std::move(outgoing),
                    .num_values = std::vector<std::size_t>(chunks_.size(), count(rank_, segment))});
    });
  }

  // The mean of a segment of the own chunk, coded: to be sent when the link has room.
  void reduce(Communicator& communicator) {
    const std::size_t segment = values_.oldest();
    const Chunked& own = chunks_[rank_];
    Lane::Ended ended = values_.take_oldest();
    if (own.has(segment)) {
      const Range part = own.part(segment);
      std::vector<quant::CodedValues> payloads;
      for (int r = 0; r < communicator.size(); ++r) {
        const auto info = frame_info(spec_, *codec_, part.count, {.leg = 0, .segment = segment, .worker = r});
        payloads.push_back({r == rank_ ? payload_of(std::as_const(ended.sent[r]))
                                       : open(communicator, ended.received[r], info),
                            part.count});
      }
      sum_.resize(part.count);
      mean_of(payloads, sum_);
      Buffer frame = new_frame(part.count);
      encoder_->encode(part, sum_, payload_of(frame));
      seal_frame(mean_info(segment, rank_), frame);
      own_means_.push_back(std::move(frame));
    } else {
      own_means_.emplace_back();
    }
    for (Buffer& frame : ended.sent) recycle(std::move(frame));
    for (Buffer& frame : ended.received) communicator.reuse(std::move(frame));
  }

  void send_mean(Communicator& communicator, std::uint64_t id) {
    const std::size_t segment = means_.next();
    std::vector<Buffer> frames;
    frames.push_back(std::move(own_means_[segment]));
    std::vector<std::span<const std::byte>> outgoing(chunks_.size(), frames[0]);
    outgoing[rank_] = {};
    std::vector<std::size_t> num_values;
    for (std::size_t r = 0; r < chunks_.size(); ++r) num_values.push_back(count(r, segment));
    means_.start(std::move(frames), [&] {
      return start(communicator, id,
                   {.address = {.leg = 1, .segment = segment},
                    .outgoing = std::move(outgoing),
                    .num_values = std::move(num_values)});
    });
  }

  void receive_means(Communicator& communicator) {
    const std::size_t segment = means_.oldest();
    Lane::Ended ended = means_.take_oldest();
    for (std::size_t r = 0; r < chunks_.size(); ++r) {
      const int worker = static_cast<int>(r);
      if (worker != rank_ && chunks_[r].has(segment)) {
        open(communicator, ended.received[r], mean_info(segment, worker));
      }
    }
    // As everybody else decodes it.
    ended.received[rank_] = std::move(ended.sent[0]);
    if (decodes_on_arrival()) {
      take_parts(segment, ended.received, [&](const Part& part) {
        mean_of(part.payloads, parts_.mean.subspan(part.range.first, part.range.count));
      });
      for (Buffer& frame : ended.received) communicator.reuse(std::move(frame));
    } else {
      kept_.push_back(std::move(ended.received));
    }
  }

  // The means of a segment of every chunk; each travelled as one payload.
  template <class Take>
  void take_parts(std::size_t segment, const std::vector<Buffer>& frames, const Take& take) const {
    for (std::size_t r = 0; r < chunks_.size(); ++r) {
      if (!chunks_[r].has(segment)) continue;
      const Range range = chunks_[r].range(segment);
      const quant::CodedValues payload = {payload_of(frames[r]), range.count};
      take(Part{range, {&payload, 1}});
    }
  }

  quant::WireInfo mean_info(std::size_t segment, int worker) const {
    return frame_info(spec_, *codec_, chunks_[worker].part(segment).count,
                      {.leg = 1, .segment = segment, .worker = worker});
  }

  int rank_ = 0;
  std::vector<Chunked> chunks_;  // by rank
  Lane values_, means_;
  std::optional<PartEncoder> encoder_;  // of the own chunk's mean
  std::vector<float> sum_;
  std::vector<Buffer> own_means_;          // by segment; empty once sent
  std::vector<std::vector<Buffer>> kept_;  // by segment, by rank
};

}  // namespace

std::shared_ptr<CodedMean> make_reduce_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                            std::size_t num_values, MeanParts parts) {
  return std::make_shared<ReduceMean>(spec, std::move(codec), num_values, std::move(parts));
}

}  // namespace thinwire::comm
