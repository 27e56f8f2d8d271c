#include "trainer/outer/streamed_loop.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "quant/codec/codec.h"
#include "trainer/outer/digest.h"
#include "trainer/outer/outer_plan.h"

namespace thinwire::trainer {

StreamedLoop::StreamedLoop(const OuterContext& context, std::vector<TrainedTensor> travelling,
                           FragmentLayout layout)
    : context_(context),
      codec_(make_wire_codec(context.options)),
      rest_codec_(make_embeddings_codec(context.options)),
      parameters_(std::move(travelling),
                  {.layout = layout,
                   .block_fragments = context.options.fragments,
                   .codec_block = static_cast<std::int64_t>(codec_->block()),
                   .rest_codec_block = static_cast<std::int64_t>(rest_codec_->block())}),
      agreed_(make_flat()),
      momentum_(make_flat()) {
  if (!context.options.embeddings_codec.empty() && !parameters_.rest_fragment())
    throw std::invalid_argument(
        "outer.embeddings_codec: no embeddings, head or final norm travel here; leave it out");
  const std::span<const float> live = parameters_.values();
  std::copy(live.begin(), live.end(), agreed_.data_ptr<float>());

  const std::size_t count = parameters_.num_fragments();
  for (std::size_t p = 0; p < count; ++p) {
    Fragment fragment;
    fragment.range = parameters_.fragment(p);
    fragment.offset_step = offset_of_fragment(p, count, context.options.sync_every);
    fragment.exchange = std::make_unique<FragmentExchange>(
        context_, p == parameters_.rest_fragment() ? rest_codec_ : codec_, static_cast<std::uint32_t>(p),
        fragment.range.size, [this, p](std::size_t offset) { return parameters_.describe(p, offset); });
    fragment.digest = digest_of_fragment(fragment);
    fragments_.push_back(std::move(fragment));
  }
}

bool StreamedLoop::is_due(const Fragment& fragment, std::int64_t step) const {
  return ends_period(step, fragment.offset_step, context_.options.sync_every);
}

bool StreamedLoop::has_drifted(const Fragment& fragment, std::int64_t step) const {
  return fragment.exchange->sent_step() != step;
}

void StreamedLoop::send(Fragment& fragment, std::int64_t step, std::span<const float> start) {
  fragment.exchange->send_drift(step, start, live_of(fragment), state_digest());
}

void StreamedLoop::commit(Fragment& fragment, std::int64_t step, std::span<float> local, float alpha) {
  CommitRecord record = fragment.exchange->receive(
      {.rule = {.lr = static_cast<float>(options().lr), .momentum = static_cast<float>(options().momentum)},
       .alpha = alpha,
       .agreed = agreed_of(fragment),
       .momentum = part_of(momentum_, fragment),
       .local = local});
  record.clamped = parameters_.raise_to_least(fragment.range, agreed_of(fragment));
  fragment.digest = digest_of_fragment(fragment);
  record.step = step;
  record.digest = fragment.digest;
  commits_.push_back(std::move(record));
}

at::Tensor StreamedLoop::make_flat() const {
  return at::zeros({static_cast<std::int64_t>(parameters_.flat_size())}, at::kFloat);
}

std::span<float> StreamedLoop::part_of(const at::Tensor& flat, const Fragment& fragment) {
  return {flat.data_ptr<float>() + fragment.range.begin, fragment.range.size};
}

std::span<float> StreamedLoop::live_of(const Fragment& fragment) {
  return parameters_.values().subspan(fragment.range.begin, fragment.range.size);
}

void StreamedLoop::copy_padding_to_live(const at::Tensor& flat) {
  for (const FlatRange& range : parameters_.padding())
    std::copy_n(flat.const_data_ptr<float>() + range.begin, range.size,
                parameters_.values().begin() + static_cast<std::ptrdiff_t>(range.begin));
}

void StreamedLoop::with_agreed(const std::function<void()>& body) {
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

NamedViews StreamedLoop::agreed() {
  return parameters_.views_of(agreed_);
}

std::string StreamedLoop::digest() const {
  std::vector<std::span<const float>> spans;
  for (const Fragment& fragment : fragments_) {
    spans.push_back(part_of(agreed_, fragment));
    spans.push_back(part_of(momentum_, fragment));
  }
  return digest_of(spans);
}

std::string StreamedLoop::digest_of_fragment(const Fragment& fragment) const {
  return digest_of({part_of(agreed_, fragment), part_of(momentum_, fragment)});
}

std::uint64_t StreamedLoop::state_digest() const {
  std::vector<std::string> digests;
  for (const Fragment& fragment : fragments_) digests.push_back(fragment.digest);
  return short_digest_of(digests);
}

State StreamedLoop::state() const {
  State state;
  state.tensors["agreed"] = agreed_;
  state.tensors["momentum"] = momentum_;
  for (std::size_t p = 0; p < fragments_.size(); ++p)
    state.add(fmt::format("fragment_{}", p), fragments_[p].exchange->state());
  return state;
}

void StreamedLoop::load(const State& state) {
  agreed_.copy_(state.require("agreed", agreed_));
  momentum_.copy_(state.require("momentum", momentum_));
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

}  // namespace thinwire::trainer
