// A sweep in tiles: pieces of a range that stay in the first cache while one step after the other passes over
// them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "quant/codec/codec.h"

namespace thinwire::quant {

// Values of a tile, about: few, so that memory is asked for again before what was asked for has come.
inline constexpr std::size_t kTile = 256;

// A tile is whole blocks.
inline std::size_t tile_of(const Codec& codec) {
  return std::max<std::size_t>(1, kTile / codec.block()) * codec.block();
}

// call(first, count) for the tiles of a range.
template <class Call>
void for_tiles(std::size_t tile, const Range& range, Call call) {
  for (std::size_t done = 0; done < range.count; done += tile)
    call(range.first + done, std::min(tile, range.count - done));
}

// Room for a tile, on the stack unless blocks are far longer than usual.
class TileBuffer {
 public:
  explicit TileBuffer(std::size_t tile) : large_(tile > kOnStack ? tile : 0) {}
  float* data() { return large_.empty() ? values_ : large_.data(); }

 private:
  static constexpr std::size_t kOnStack = 4096;
  alignas(64) float values_[kOnStack];
  std::vector<float> large_;
};

}  // namespace thinwire::quant
