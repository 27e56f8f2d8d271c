#include "trainer/outer/flat_parameters.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace thinwire::trainer {
namespace {

constexpr std::size_t kValuesPerCacheLine = 16;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Which fragment a tensor belongs to, out of plan.block_fragments + 1.
std::int64_t fragment_of(const FlatItem& item, const FragmentPlan& plan, std::int64_t blocks) {
  if (plan.layout == FragmentLayout::kWhole) return 0;
  if (item.block < 0) return plan.block_fragments;
  if (plan.layout == FragmentLayout::kStrided) return item.block % plan.block_fragments;
  return item.block * plan.block_fragments / blocks;
}

// members: of one fragment, by index.
void lay_out_fragment(const std::vector<FlatItem>& items, std::vector<std::size_t> members,
                      std::size_t codec_block, FlatLayout& layout) {
  std::stable_sort(members.begin(), members.end(),
                   [&](std::size_t a, std::size_t b) { return items[a].group < items[b].group; });
  const std::size_t begin = round_up(layout.flat_size, kValuesPerCacheLine);
  std::size_t offset = begin;
  bool in_scales = false;
  for (const std::size_t member : members) {
    if (items[member].group == TensorGroup::kScale && !in_scales) {
      in_scales = true;
      const std::size_t scales = begin + round_up(offset - begin, codec_block);
      layout.padding.push_back({offset, scales - offset});
      offset = scales;
    }
    layout.places.push_back({member, offset});
    offset += items[member].values;
  }
  layout.fragments.push_back({begin, offset - begin});
  layout.flat_size = offset;
}

std::vector<FlatItem> items_of(const std::vector<TrainedTensor>& tensors) {
  std::vector<FlatItem> items;
  for (const TrainedTensor& t : tensors)
    items.push_back({t.block, t.group, static_cast<std::size_t>(t.tensor.numel())});
  return items;
}

}  // namespace

FlatLayout lay_out(const std::vector<FlatItem>& items, const FragmentPlan& plan) {
  std::int64_t blocks = 0;
  for (const FlatItem& item : items) blocks = std::max(blocks, item.block + 1);
  if (plan.layout != FragmentLayout::kWhole && (plan.block_fragments < 1 || plan.block_fragments > blocks))
    throw std::invalid_argument(fmt::format(
        "outer.fragments: expected 1 to {} (the blocks that travel), found {}; use fewer fragments or "
        "more layers",
        blocks, plan.block_fragments));

  FlatLayout layout;
  const std::int64_t count = plan.layout == FragmentLayout::kWhole ? 1 : plan.block_fragments + 1;
  for (std::int64_t p = 0; p < count; ++p) {
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < items.size(); ++i)
      if (fragment_of(items[i], plan, blocks) == p) members.push_back(i);
    if (members.empty()) continue;
    const bool is_rest = plan.layout != FragmentLayout::kWhole && p == plan.block_fragments;
    if (is_rest) layout.rest_fragment = layout.fragments.size();
    lay_out_fragment(items, std::move(members),
                     static_cast<std::size_t>(is_rest ? plan.rest_codec_block : plan.codec_block), layout);
  }
  return layout;
}

FlatParameters::FlatParameters(std::vector<TrainedTensor> tensors, const FragmentPlan& plan) {
  for (const TrainedTensor& t : tensors) {
    if (t.tensor.scalar_type() != at::kFloat || !t.tensor.is_leaf() || !t.tensor.device().is_cpu())
      throw std::invalid_argument(
          fmt::format("tensor {} cannot travel: expected a float32 leaf on the CPU, found {}", t.name,
                      t.tensor.toString()));
  }
  layout_ = lay_out(items_of(tensors), plan);
  for (const auto& [item, offset] : layout_.places) places_.push_back({std::move(tensors[item]), offset});

  at::NoGradGuard no_grad;
  storage_ = at::zeros({static_cast<std::int64_t>(layout_.flat_size)}, at::kFloat);
  for (auto& [name, view] : views_of(storage_)) {
    auto place =
        std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.tensor.name == name; });
    view.copy_(place->tensor.tensor);
    place->tensor.tensor.set_data(view);
  }
}

std::span<float> FlatParameters::values() {
  return {storage_.data_ptr<float>(), layout_.flat_size};
}

std::span<const float> FlatParameters::values() const {
  return {storage_.const_data_ptr<float>(), layout_.flat_size};
}

std::int64_t FlatParameters::raise_to_least(const FlatRange& fragment, std::span<float> values) const {
  std::int64_t raised = 0;
  for (const Place& place : places_) {
    const float least = place.tensor.least;
    if (std::isinf(least) || place.offset < fragment.begin || place.offset >= fragment.begin + fragment.size)
      continue;
    for (float& value : values.subspan(place.offset - fragment.begin,
                                       static_cast<std::size_t>(place.tensor.tensor.numel()))) {
      if (!(value < least)) continue;
      value = least;
      ++raised;
    }
  }
  return raised;
}

void FlatParameters::copy_gradients_to(std::span<float> flat) const {
  std::fill(flat.begin(), flat.end(), 0.0f);
  for (const Place& place : places_) {
    const at::Tensor gradient = place.tensor.tensor.grad();
    if (!gradient.defined()) continue;
    const at::Tensor whole = gradient.contiguous();
    std::copy_n(whole.const_data_ptr<float>(), whole.numel(), flat.data() + place.offset);
  }
}

void FlatParameters::set_gradients_from(std::span<const float> flat) {
  at::NoGradGuard no_grad;
  for (Place& place : places_) {
    at::Tensor& gradient = place.tensor.tensor.mutable_grad();
    if (!gradient.defined() || !gradient.is_contiguous()) gradient = at::empty_like(place.tensor.tensor);
    std::copy_n(flat.data() + place.offset, gradient.numel(), gradient.data_ptr<float>());
  }
}

std::vector<std::pair<std::string, at::Tensor>> FlatParameters::views_of(const at::Tensor& flat) const {
  std::vector<std::pair<std::string, at::Tensor>> views;
  for (const Place& place : places_)
    views.emplace_back(place.tensor.name,
                       flat.narrow(0, static_cast<std::int64_t>(place.offset), place.tensor.tensor.numel())
                           .view(place.tensor.tensor.sizes()));
  return views;
}

std::string FlatParameters::describe(std::size_t p, std::size_t offset) const {
  const std::size_t flat_offset = fragment(p).begin + offset;
  for (const Place& place : places_) {
    const auto size = static_cast<std::size_t>(place.tensor.tensor.numel());
    if (flat_offset >= place.offset && flat_offset - place.offset < size)
      return fmt::format("{}[{}]", place.tensor.name, flat_offset - place.offset);
  }
  return fmt::format("padding of fragment {}", p);
}

}  // namespace thinwire::trainer
