#include "trainer/outer/fragment_exchange.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace thinwire::trainer {
namespace {

at::Tensor bytes_tensor(std::span<const std::byte> bytes) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(bytes.size())}, at::kByte);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace

FragmentExchange::FragmentExchange(const OuterContext& context, std::shared_ptr<const quant::Codec> codec,
                                   std::uint32_t fragment, std::size_t size,
                                   std::function<std::string(std::size_t)> describe)
    : context_(context),
      codec_(std::move(codec)),
      fragment_(fragment),
      size_(size),
      describe_(std::move(describe)),
      leg_(comm::choose_leg(context.options.leg, context.engine->size(), *codec_, size)) {
  if (context.options.error_feedback)
    error_feedback_.emplace(*codec_, size, static_cast<float>(context.options.decay));
}

void FragmentExchange::send_drift(std::int64_t step, std::span<const float> agreed,
                                  std::span<const float> live, std::uint64_t state_digest) {
  comm::Buffer payload(codec_->encoded_bytes(size_));
  refuse_nan(step, error_feedback_ ? error_feedback_->encode_delta(agreed, live, key_of(step), payload)
                                   : quant::encode_delta(*codec_, {.agreed = agreed, .local = live},
                                                         key_of(step), payload));
  submit(comm::CodedMean::make(spec_of(step, state_digest), codec_, size_, std::move(payload)));
}

std::uint64_t FragmentExchange::key_of(std::int64_t step) const {
  return quant::stream_key({.seed = context_.seed,
                            .step = static_cast<std::uint64_t>(step),
                            .worker = static_cast<std::uint32_t>(context_.engine->rank()),
                            .fragment = fragment_,
                            .leg = 0});
}

void FragmentExchange::refuse_nan(std::int64_t step, std::size_t index) const {
  if (index == size_) return;
  throw std::runtime_error(
      fmt::format("at step {}: {} is NaN, so fragment {} is not sent and the other workers stay clean; lower "
                  "the rate or clip "
                  "(--set inner.lr=..., --set inner.clip=1)",
                  step, describe_(index), fragment_));
}

comm::MeanSpec FragmentExchange::spec_of(std::int64_t step, std::uint64_t state_digest) const {
  return {.step = static_cast<std::uint64_t>(step),
          .fragment = fragment_,
          .seed = context_.seed,
          .leg = leg_,
          .state_digest = state_digest};
}

void FragmentExchange::submit(std::shared_ptr<comm::CodedMean> mean) {
  mean_ = std::move(mean);
  sent_step_ = static_cast<std::int64_t>(mean_->spec().step);
  state_digest_ = mean_->spec().state_digest;
  ticket_ = context_.engine->submit(mean_);
}

CommitRecord FragmentExchange::receive(const OuterStep& step) {
  CommitRecord record = wait();
  quant::TileSums measures;
  mean_->for_each_part([&](const comm::CodedMean::Part& part) {
    const auto [first, count] = part.range;
    const quant::CodedValues own = {mean_->payload(), size_, first};
    measures += quant::apply_update(
        *codec_, {.payloads = part.payloads,
                  .contributors = static_cast<float>(part.payloads.size()),
                  .rule = step.rule,
                  .alpha = step.alpha,
                  .agreed = step.agreed.subspan(first, count),
                  .momentum = step.momentum.subspan(first, count),
                  .local = step.local.empty() ? step.local : step.local.subspan(first, count),
                  .own = &own});
  });
  end(measures, record);
  return record;
}

CommitRecord FragmentExchange::reduce(std::int64_t step, std::span<float> values,
                                      std::uint64_t state_digest) {
  refuse_nan(step, quant::find_nan(values));
  reduced_payload_.resize(codec_->encoded_bytes(size_));
  const auto encode = [this, values, key = key_of(step)](const quant::Range& range,
                                                         std::span<std::byte> part) {
    const auto those = values.subspan(range.first, range.count);
    if (error_feedback_)
      error_feedback_->encode_range(range.first, those, key, reduced_payload_);
    else
      codec_->encode_range(size_, range.first, those, key, reduced_payload_);
    codec_->slice(reduced_payload_, size_, range, part);
  };
  submit(comm::CodedMean::make(spec_of(step, state_digest), codec_, values, encode));
  CommitRecord record = wait();
  end(quant::measure(*codec_, {reduced_payload_, size_}, values), record);
  return record;
}

CommitRecord FragmentExchange::wait() {
  CommitRecord record;
  const auto before = comm::Clock::now();
  ticket_.wait();
  record.late_seconds = comm::seconds_of(comm::Clock::now() - before);
  compare_digests();
  return record;
}

void FragmentExchange::end(const quant::TileSums& measures, CommitRecord& record) {
  record.delta_norm = std::sqrt(measures.own_square);
  record.mean_norm = std::sqrt(measures.mean_square);
  const double lengths = record.delta_norm * record.mean_norm;
  record.cosine = lengths > 0 ? measures.product / lengths : 0;
  record.sent_step = sent_step_;
  record.fragment = fragment_;
  record.weights.assign(static_cast<std::size_t>(context_.engine->size()), 1.0 / context_.engine->size());
  record.wire_bytes =
      comm::mean_wire_bytes(leg_, context_.engine->size(), context_.engine->rank(), *codec_, size_);
  mean_.reset();
}

void FragmentExchange::compare_digests() const {
  const std::vector<std::uint64_t> digests = mean_->state_digests();
  for (std::size_t worker = 0; worker < digests.size(); ++worker)
    if (digests[worker] != state_digest_)
      throw std::runtime_error(fmt::format(
          "workers hold different agreed parameters: when fragment {} was sent at step {}, worker {} had "
          "digest "
          "{:016x} and worker {} had {:016x}; stop, and compare the workers' builds and checkpoints",
          fragment_, sent_step_, context_.engine->rank(), state_digest_, worker, digests[worker]));
}

State FragmentExchange::state() const {
  State state;
  if (error_feedback_) {
    const std::span<const float> residual = error_feedback_->residual();
    at::Tensor tensor = at::empty({static_cast<std::int64_t>(size_)}, at::kFloat);
    std::copy(residual.begin(), residual.end(), tensor.data_ptr<float>());
    state.tensors["residual"] = tensor;
  }
  if (mean_) {
    state.tensors["payload"] = bytes_tensor(mean_->payload());
    state.meta = {{"sent_step", sent_step_}, {"state_digest", state_digest_}};
  }
  return state;
}

void FragmentExchange::load(const State& state) {
  if (error_feedback_) {
    const std::span<float> residual = error_feedback_->residual();
    const at::Tensor saved =
        state.require("residual", at::empty({static_cast<std::int64_t>(size_)}, at::kFloat));
    std::copy_n(saved.const_data_ptr<float>(), size_, residual.begin());
  }
  loaded_payload_.clear();
  if (!state.meta.contains("sent_step")) return;
  const auto bytes = static_cast<std::int64_t>(codec_->encoded_bytes(size_));
  const at::Tensor payload = state.require("payload", at::empty({bytes}, at::kByte));
  const auto* begin = static_cast<const std::byte*>(payload.const_data_ptr());
  loaded_payload_.assign(begin, begin + bytes);
  sent_step_ = state.meta.at("sent_step");
  state_digest_ = state.meta.at("state_digest");
}

void FragmentExchange::resend() {
  if (loaded_payload_.empty()) return;
  submit(comm::CodedMean::make(spec_of(sent_step_, state_digest_), codec_, size_,
                               std::exchange(loaded_payload_, {})));
}

}  // namespace thinwire::trainer
