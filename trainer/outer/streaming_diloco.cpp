#include "trainer/outer/streaming_diloco.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>

#include "quant/kernel/outer_ops.h"
#include "trainer/outer/digest.h"

namespace thinwire::trainer {
namespace {

std::span<float> slice(const at::Tensor& flat, const FlatRange& range) {
  return {flat.data_ptr<float>() + range.begin, range.size};
}

}  // namespace

StreamingDiLoCo::StreamingDiLoCo(const OuterContext& context, std::vector<TrainedTensor> travelling,
                                 FragmentLayout layout)
    : context_(context),
      parameters_(std::move(travelling),
                  {.layout = layout,
                   .block_fragments = context.options.fragments,
                   .codec_block = static_cast<std::int64_t>(make_wire_codec(context.options)->block())}),
      codec_(make_wire_codec(context.options)) {
  const auto flat_size = static_cast<std::int64_t>(parameters_.flat_size());
  agreed_ = torch::empty({flat_size}, at::kFloat);
  momentum_ = torch::zeros({flat_size}, at::kFloat);
  const std::span<const float> live = parameters_.values();
  std::copy(live.begin(), live.end(), agreed_.data_ptr<float>());

  const std::size_t count = parameters_.num_fragments();
  for (std::size_t p = 0; p < count; ++p) {
    Fragment fragment;
    fragment.range = parameters_.fragment(p);
    fragment.offset_step =
        static_cast<std::int64_t>(p) * context.options.sync_every / static_cast<std::int64_t>(count);
    fragment.exchange = std::make_unique<FragmentExchange>(
        context_, codec_, static_cast<std::uint32_t>(p), fragment.range.size,
        [this, p](std::size_t offset) { return parameters_.describe(p, offset); });
    fragment.digest = digest_of_fragment(fragment);
    scratch_.resize(std::max(scratch_.size(), fragment.range.size));
    fragments_.push_back(std::move(fragment));
  }
}

void StreamingDiLoCo::after_step(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  const std::int64_t overlap = context_.options.overlap;
  for (Fragment& fragment : fragments_) {
    if (fragment.exchange->in_flight() && step == fragment.exchange->sent_step() + overlap)
      apply(fragment, step);
    if (due_to_send(fragment, step)) {
      send(fragment, step);
      if (overlap == 0) apply(fragment, step);
    }
  }
}

void StreamingDiLoCo::finish(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  for (Fragment& fragment : fragments_)
    if (fragment.exchange->in_flight()) apply(fragment, step);
}

bool StreamingDiLoCo::due_to_send(const Fragment& fragment, std::int64_t step) const {
  if (step == context_.total_steps && context_.options.overlap > 0) return false;
  return step > 0 && (step - fragment.offset_step) % context_.options.sync_every == 0;
}

void StreamingDiLoCo::send(Fragment& fragment, std::int64_t step) {
  const std::span<float> delta = std::span(scratch_).first(fragment.range.size);
  quant::outer_delta(agreed_of(fragment), live_of(fragment), delta);
  fragment.exchange->send(step, delta, state_digest());
}

void StreamingDiLoCo::apply(Fragment& fragment, std::int64_t step) {
  const std::span<float> mean = std::span(scratch_).first(fragment.range.size);
  CommitRecord record = fragment.exchange->receive(mean);
  quant::nesterov_step(
      {static_cast<float>(context_.options.lr), static_cast<float>(context_.options.momentum)}, mean,
      momentum_of(fragment), agreed_of(fragment));
  quant::merge_into_local(static_cast<float>(context_.options.alpha), agreed_of(fragment), live_of(fragment));
  copy_agreed_padding_to_live();
  fragment.digest = digest_of_fragment(fragment);
  record.step = step;
  record.digest = fragment.digest;
  commits_.push_back(std::move(record));
}

// Padding has no tensor that a checkpoint would bring back: the live one is always the agreed one.
void StreamingDiLoCo::copy_agreed_padding_to_live() {
  for (const FlatRange& range : parameters_.padding()) {
    const std::span<float> agreed = slice(agreed_, range);
    std::copy(agreed.begin(), agreed.end(), parameters_.values().subspan(range.begin, range.size).begin());
  }
}

void StreamingDiLoCo::with_agreed(const std::function<void()>& body) {
  const std::span<float> live = parameters_.values();
  const auto swap = [&] { std::swap_ranges(live.begin(), live.end(), agreed_.data_ptr<float>()); };
  swap();
  try {
    body();
  } catch (...) {
    swap();
    throw;
  }
  swap();
}

NamedViews StreamingDiLoCo::agreed() {
  return parameters_.views_of(agreed_);
}

std::string StreamingDiLoCo::digest() const {
  std::vector<std::span<const float>> spans;
  for (const Fragment& fragment : fragments_) {
    spans.push_back(slice(agreed_, fragment.range));
    spans.push_back(slice(momentum_, fragment.range));
  }
  return digest_of(spans);
}

std::string StreamingDiLoCo::digest_of_fragment(const Fragment& fragment) const {
  return digest_of({slice(agreed_, fragment.range), slice(momentum_, fragment.range)});
}

std::uint64_t StreamingDiLoCo::state_digest() const {
  std::vector<std::string> digests;
  for (const Fragment& fragment : fragments_) digests.push_back(fragment.digest);
  return short_digest_of(digests);
}

State StreamingDiLoCo::state() const {
  State state;
  state.tensors["agreed"] = agreed_.clone();
  state.tensors["momentum"] = momentum_.clone();
  for (std::size_t p = 0; p < fragments_.size(); ++p)
    state.add(fmt::format("fragment_{}", p), fragments_[p].exchange->state());
  return state;
}

void StreamingDiLoCo::load(const State& state) {
  agreed_.copy_(state.require("agreed", agreed_));
  momentum_.copy_(state.require("momentum", momentum_));
  copy_agreed_padding_to_live();
  std::vector<FragmentExchange*> order;
  for (std::size_t p = 0; p < fragments_.size(); ++p) {
    fragments_[p].exchange->load(state.part(fmt::format("fragment_{}", p)));
    fragments_[p].digest = digest_of_fragment(fragments_[p]);
    order.push_back(fragments_[p].exchange.get());
  }
  // Every worker sends again in the same order: by step, then by fragment.
  std::stable_sort(order.begin(), order.end(), [](const FragmentExchange* a, const FragmentExchange* b) {
    return a->sent_step() < b->sent_step();
  });
  for (FragmentExchange* exchange : order) exchange->resend();
}

std::span<float> StreamingDiLoCo::agreed_of(const Fragment& fragment) {
  return slice(agreed_, fragment.range);
}

std::span<float> StreamingDiLoCo::momentum_of(const Fragment& fragment) {
  return slice(momentum_, fragment.range);
}

std::span<float> StreamingDiLoCo::live_of(const Fragment& fragment) {
  return parameters_.values().subspan(fragment.range.begin, fragment.range.size);
}

}  // namespace thinwire::trainer
