// How a fragment is cut into one chunk per rank: consecutive blocks, as even as whole blocks allow, so that a
// chunk of a payload is a payload. With fewer blocks than ranks some chunks are empty.
#pragma once

#include <algorithm>
#include <cstddef>

namespace thinwire::comm {

struct Chunk {
  std::size_t first = 0;  // value, a multiple of the block
  std::size_t num_values = 0;
};

inline Chunk chunk_of(int rank, int size, std::size_t num_values, std::size_t block) {
  const std::size_t num_blocks = num_values / block + (num_values % block != 0);
  const auto border = [&](std::size_t r) { return std::min(num_values, r * num_blocks / size * block); };
  return {border(rank), border(rank + 1) - border(rank)};
}

}  // namespace thinwire::comm
