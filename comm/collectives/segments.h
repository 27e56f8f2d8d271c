// How the values of one message-to-be are cut into segments: messages small enough that coding, sending and
// decoding overlap, that fragments share a link by turns, and that a control message waits for one only.
//
// A segment holds whole blocks, of at most kSegmentBytes of payload and kSegmentValues values: the latter
// bounds what is coded before anything leaves, at few bits a value. A payload of no more than that is one
// message, and so is one of no values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "quant/codec/codec.h"

namespace thinwire::comm {

inline constexpr std::size_t kSegmentBytes = std::size_t{256} << 10;
inline constexpr std::size_t kSegmentValues = std::size_t{256} << 10;

class Segments {
 public:
  Segments(const quant::Codec& codec, std::size_t num_values)
      : num_values_(num_values), each_(values_of_each(codec)) {}

  std::size_t count() const {
    return std::max<std::size_t>(1, num_values_ / each_ + (num_values_ % each_ != 0));
  }
  quant::Range operator[](std::size_t i) const {
    const std::size_t first = i * each_;
    return {first, std::min(each_, num_values_ - first)};
  }

 private:
  // A multiple of every codec's unit: its block, and the 4096 values that a sparse one takes together.
  static std::size_t values_of_each(const quant::Codec& codec) {
    const std::size_t unit = std::lcm(codec.block(), std::size_t{4096});
    const std::size_t by_bytes = kSegmentBytes / std::max<std::size_t>(1, codec.encoded_bytes(unit));
    return unit * std::clamp<std::size_t>(by_bytes, 1, std::max<std::size_t>(1, kSegmentValues / unit));
  }

  std::size_t num_values_;
  std::size_t each_;
};

}  // namespace thinwire::comm
