#include "trainer/outer/flat_parameters.h"

#include <fmt/format.h>
#include <torch/torch.h>

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
std::int64_t fragment_of(const TrainedTensor& tensor, const FragmentPlan& plan, std::int64_t blocks) {
  if (plan.layout == FragmentLayout::kWhole) return 0;
  if (tensor.block < 0) return plan.block_fragments;
  if (plan.layout == FragmentLayout::kStrided) return tensor.block % plan.block_fragments;
  return tensor.block * plan.block_fragments / blocks;
}

}  // namespace

FlatParameters::FlatParameters(std::vector<TrainedTensor> tensors, const FragmentPlan& plan) {
  std::int64_t blocks = 0;
  for (const TrainedTensor& t : tensors) {
    blocks = std::max(blocks, t.block + 1);
    if (t.tensor.scalar_type() != at::kFloat || !t.tensor.is_leaf() || !t.tensor.device().is_cpu())
      throw std::invalid_argument(
          fmt::format("tensor {} cannot travel: expected a float32 leaf on the CPU, found {}", t.name,
                      t.tensor.toString()));
  }
  if (plan.layout != FragmentLayout::kWhole && (plan.block_fragments < 1 || plan.block_fragments > blocks))
    throw std::invalid_argument(fmt::format(
        "outer.fragments: expected 1 to {} (the blocks that travel), found {}; use fewer fragments or "
        "more layers",
        blocks, plan.block_fragments));

  const std::int64_t count = plan.layout == FragmentLayout::kWhole ? 1 : plan.block_fragments + 1;
  for (std::int64_t p = 0; p < count; ++p) {
    std::vector<TrainedTensor> members;
    for (const TrainedTensor& t : tensors)
      if (fragment_of(t, plan, blocks) == p) members.push_back(t);
    if (members.empty()) continue;
    const bool is_rest = plan.layout != FragmentLayout::kWhole && p == plan.block_fragments;
    if (is_rest) rest_fragment_ = fragments_.size();
    lay_out_fragment(std::move(members),
                     static_cast<std::size_t>(is_rest ? plan.rest_codec_block : plan.codec_block));
  }

  torch::NoGradGuard no_grad;
  storage_ = torch::zeros({static_cast<std::int64_t>(flat_size_)}, at::kFloat);
  for (auto& [name, view] : views_of(storage_)) {
    auto place =
        std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.tensor.name == name; });
    view.copy_(place->tensor.tensor);
    place->tensor.tensor.set_data(view);
  }
}

void FlatParameters::lay_out_fragment(std::vector<TrainedTensor> members, std::size_t codec_block) {
  std::stable_sort(members.begin(), members.end(),
                   [](const TrainedTensor& a, const TrainedTensor& b) { return a.group < b.group; });
  const std::size_t begin = round_up(flat_size_, kValuesPerCacheLine);
  std::size_t offset = begin;
  bool in_scales = false;
  for (TrainedTensor& t : members) {
    if (t.group == TensorGroup::kScale && !in_scales) {
      in_scales = true;
      const std::size_t scales = begin + round_up(offset - begin, codec_block);
      padding_.push_back({offset, scales - offset});
      offset = scales;
    }
    const auto size = static_cast<std::size_t>(t.tensor.numel());
    places_.push_back({std::move(t), offset});
    offset += size;
  }
  fragments_.push_back({begin, offset - begin});
  flat_size_ = offset;
}

std::span<float> FlatParameters::values() {
  return {storage_.data_ptr<float>(), flat_size_};
}

std::span<const float> FlatParameters::values() const {
  return {storage_.const_data_ptr<float>(), flat_size_};
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
  torch::NoGradGuard no_grad;
  for (Place& place : places_) {
    at::Tensor& gradient = place.tensor.tensor.mutable_grad();
    if (!gradient.defined() || !gradient.is_contiguous()) gradient = torch::empty_like(place.tensor.tensor);
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
  const std::size_t flat_offset = fragments_.at(p).begin + offset;
  for (const Place& place : places_) {
    const auto size = static_cast<std::size_t>(place.tensor.tensor.numel());
    if (flat_offset >= place.offset && flat_offset - place.offset < size)
      return fmt::format("{}[{}]", place.tensor.name, flat_offset - place.offset);
  }
  return fmt::format("padding of fragment {}", p);
}

}  // namespace thinwire::trainer
