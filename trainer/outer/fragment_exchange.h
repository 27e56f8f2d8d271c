// One fragment's way to the other workers and back: values -> error feedback -> codec -> coded mean in flight
// -> mean. Shared by every outer method that exchanges anything; it knows no outer rule.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/mean.h"
#include "quant/codec/codec.h"
#include "quant/codec/error_feedback.h"
#include "quant/codec/outer_pass.h"
#include "trainer/outer/outer_loop.h"

namespace thinwire::trainer {

class FragmentExchange {
 public:
  // describe(offset) names a value for error messages.
  FragmentExchange(const OuterContext& context, std::shared_ptr<const quant::Codec> codec,
                   std::uint32_t fragment, std::size_t size,
                   std::function<std::string(std::size_t)> describe);

  bool in_flight() const { return mean_ != nullptr; }
  std::int64_t sent_step() const { return sent_step_; }

  // Encodes delta = agreed - live, in one sweep over memory, and starts its mean. state_digest: of the agreed
  // state, compared with every worker's on arrival. Throws std::runtime_error that names worker, tensor and
  // index if a value is NaN; nothing is sent then.
  void send_drift(std::int64_t step, std::span<const float> agreed, std::span<const float> live,
                  std::uint64_t state_digest);

  // What the other workers decode from this one's part of the mean in flight.
  void decode_own(std::span<float> values) const { codec_->decode(mean_->payload(), values); }

  // Waits for the mean over workers of what was sent and takes the outer step with it, in one sweep over
  // memory. Fills step-independent fields of a record. Throws std::runtime_error if workers hold different
  // agreed states.
  struct OuterStep {
    quant::NesterovRule rule = {};
    float alpha = 0;  // of merge_into_local
    std::span<float> agreed = {};
    std::span<float> momentum = {};
    std::span<float> local = {};  // or empty: nothing is merged
  };
  CommitRecord receive(const OuterStep& step);

  // values = their mean over workers. Both of the above in one, for a caller who waits: a segment is coded
  // and decoded while others travel, on the engine's thread, which has the values and the residual until this
  // returns. Throws what send_drift and receive throw; of no use after an error but one of NaN.
  CommitRecord reduce(std::int64_t step, std::span<float> values, std::uint64_t state_digest);

  // The residual and what is in flight. load() does not send: resend() does, in the same order on all
  // workers.
  State state() const;
  void load(const State& state);
  void resend();

 private:
  std::uint64_t key_of(std::int64_t step) const;
  void refuse_nan(std::int64_t step, std::size_t index) const;
  comm::MeanSpec spec_of(std::int64_t step, std::uint64_t state_digest) const;
  void submit(std::shared_ptr<comm::CodedMean> mean);
  void compare_digests() const;
  // Before and after the mean is made use of.
  CommitRecord wait();
  void end(const quant::TileSums& measures, CommitRecord& record);

  const OuterContext context_;
  const std::shared_ptr<const quant::Codec> codec_;
  const std::uint32_t fragment_;
  const std::size_t size_;
  const std::function<std::string(std::size_t)> describe_;
  const comm::Leg leg_;
  std::optional<quant::ErrorFeedback> error_feedback_;

  std::int64_t sent_step_ = 0;
  std::uint64_t state_digest_ = 0;
  std::shared_ptr<comm::CodedMean> mean_;  // shared with the engine while in flight
  comm::Ticket ticket_;
  comm::Buffer loaded_payload_;   // from a checkpoint, until resend()
  comm::Buffer reduced_payload_;  // reduce()'s own
};

}  // namespace thinwire::trainer
