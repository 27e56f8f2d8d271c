// The one place where travelling tensors become spans: every tensor becomes a view into one flat float32
// buffer, fragment by fragment, so that the outer loop reads and writes parameters without copying.
//
// A fragment holds its matrices, then its vectors, then - from the next codec block on - its scales, each in
// the order given. The values between vectors and scales are padding: no tensor's, sent and counted.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainer/core/tensors.h"

namespace thinwire::trainer {

enum class FragmentLayout { kWhole, kStrided, kSequential };

struct FragmentPlan {
  FragmentLayout layout = FragmentLayout::kStrided;
  std::int64_t block_fragments = 4;  // ignored by kWhole; what belongs to no block forms one more, the last
  std::int64_t codec_block = 256;    // scales start at a multiple of it
  std::int64_t rest_codec_block = 256;  // the same in the fragment of what belongs to no block
};

// A half-open range of values of the flat buffer.
struct FlatRange {
  std::size_t begin = 0;
  std::size_t size = 0;
};

// What the layout asks of a tensor.
struct FlatItem {
  std::int64_t block = -1;  // as in TrainedTensor
  TensorGroup group = TensorGroup::kMatrix;
  std::size_t values = 0;
};

// Where everything lies, without the values.
struct FlatLayout {
  struct Place {
    std::size_t item = 0;    // index into what was laid out
    std::size_t offset = 0;  // into the flat buffer
  };
  std::vector<Place> places;         // by offset
  std::vector<FlatRange> fragments;  // they start on cache lines
  std::optional<std::size_t> rest_fragment;
  std::vector<FlatRange> padding;
  std::size_t flat_size = 0;
};

// Throws std::invalid_argument for more block fragments than blocks.
FlatLayout lay_out(const std::vector<FlatItem>& items, const FragmentPlan& plan);

class FlatParameters {
 public:
  // Moves the storage of the tensors; their values stay. Throws std::invalid_argument for a tensor that is
  // not a float32 leaf, or more block fragments than blocks.
  FlatParameters(std::vector<TrainedTensor> tensors, const FragmentPlan& plan);

  std::size_t num_fragments() const { return layout_.fragments.size(); }
  const FlatRange& fragment(std::size_t p) const { return layout_.fragments.at(p); }
  // The fragment of what belongs to no block: embeddings, head and final norm. None with kWhole, or if
  // nothing of the kind travels.
  std::optional<std::size_t> rest_fragment() const { return layout_.rest_fragment; }
  // Length of a buffer with one place for every value of every fragment.
  std::size_t flat_size() const { return layout_.flat_size; }

  // The live values.
  std::span<float> values();
  std::span<const float> values() const;

  // Where no tensor lies. Starts as zeros; a format without a zero moves it.
  const std::vector<FlatRange>& padding() const { return layout_.padding; }

  // Brings values of a fragment's tensors that lie below their least back to it. values: those of `fragment`,
  // of the live ones or of a buffer of the same layout. Returns how many there were.
  std::int64_t raise_to_least(const FlatRange& fragment, std::span<float> values) const;

  // Gradients in the same layout (a missing one is zero), and back.
  void copy_gradients_to(std::span<float> flat) const;
  void set_gradients_from(std::span<const float> flat);

  // Views by name into a buffer of the same layout.
  std::vector<std::pair<std::string, at::Tensor>> views_of(const at::Tensor& flat) const;
  std::vector<std::pair<std::string, at::Tensor>> live_views() const { return views_of(storage_); }
  // "name[index]" of the value at `offset` of fragment p, for error messages.
  std::string describe(std::size_t p, std::size_t offset) const;

 private:
  struct Place {
    TrainedTensor tensor;
    std::size_t offset = 0;  // into the flat buffer
  };

  FlatLayout layout_;
  std::vector<Place> places_;  // by offset
  at::Tensor storage_;         // float32 [flat_size]
};

}  // namespace thinwire::trainer
