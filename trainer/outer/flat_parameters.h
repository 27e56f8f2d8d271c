// The one place where tensors become spans: every travelling tensor becomes a view into one flat float32 buffer,
// fragment by fragment, so that the outer loop reads and writes parameters without copying.
//
// A fragment holds its matrices, then its vectors, then - from the next block boundary on - its scales; each in
// the order given. The values between vectors and scales are padding: zero, sent and counted.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainer/task/task.h"

namespace thinwire::trainer {

enum class FragmentLayout { kWhole, kStrided, kSequential };

struct FragmentPlan {
  FragmentLayout layout = FragmentLayout::kStrided;
  std::int64_t block_fragments = 4;  // ignored by kWhole; embeddings, head and final norm form one more
  std::int64_t codec_block = 256;    // where scales start
};

class FlatParameters {
 public:
  // Moves the storage of the tensors; their values stay. Throws std::invalid_argument if there are more block
  // fragments than blocks.
  FlatParameters(std::vector<TrainedTensor> tensors, const FragmentPlan& plan);

  std::size_t num_fragments() const { return offsets_.size() - 1; }
  std::size_t num_values() const { return offsets_.back(); }
  // Live values of fragment p; valid as long as the tensors.
  std::span<float> fragment(std::size_t p);
  std::span<const float> fragment(std::size_t p) const;
  std::span<float> all();
  // Gathers the gradients into one span of the same layout (missing gradients are zero), and back.
  void copy_gradients_to(std::span<float> flat) const;
  void set_gradients_from(std::span<const float> flat);
  // "name[index]" of the value at `offset` of fragment p, for error messages.
  std::string describe(std::size_t p, std::size_t offset) const;

 private:
  struct Place {
    TrainedTensor tensor;
    std::size_t offset;
  };
  at::Tensor storage_;                // float32 [num_values]
  std::vector<Place> places_;         // by offset
  std::vector<std::size_t> offsets_;  // of fragments, with the end
};

}  // namespace thinwire::trainer
