// Memory of messages that were taken, for those to come: fresh memory costs a page fault for every 4 KiB.
#pragma once

#include <utility>
#include <vector>

#include "comm/transport.h"

namespace thinwire::comm {

class SpareBuffers {
 public:
  // One of those put in, of any size and content, or an empty one.
  Buffer take() {
    if (buffers_.empty()) return {};
    Buffer buffer = std::move(buffers_.back());
    buffers_.pop_back();
    num_bytes_ -= buffer.capacity();
    return buffer;
  }

  // Drops what is small, and what would make the store larger than its bound.
  void put(Buffer buffer) {
    if (buffer.capacity() < kSmallest || num_bytes_ + buffer.capacity() > kBound) return;
    num_bytes_ += buffer.capacity();
    buffers_.push_back(std::move(buffer));
  }

 private:
  static constexpr std::size_t kSmallest = 4096;
  static constexpr std::size_t kBound = std::size_t{16} << 20;

  std::vector<Buffer> buffers_;
  std::size_t num_bytes_ = 0;
};

}  // namespace thinwire::comm
