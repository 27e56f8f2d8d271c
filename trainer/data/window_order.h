// The order in which a worker reads its windows: epoch by epoch, each a permutation that is a function of
// (seed, worker, epoch) alone.
#pragma once

#include <cstdint>
#include <vector>

namespace thinwire::trainer {

class WindowOrder {
 public:
  struct Position {
    std::int64_t epoch = 0;
    std::int64_t index = 0;  // windows of this epoch already read
  };

  // 0 < windows < 2^32. Throws std::runtime_error for more.
  WindowOrder(std::uint64_t seed, int worker, std::int64_t windows);

  std::int64_t next();
  Position position() const { return position_; }
  // 0 <= index <= windows.
  void seek(Position position);

 private:
  void permute();

  std::uint64_t seed_;
  int worker_;
  std::int64_t windows_;
  Position position_;
  std::vector<std::uint32_t> order_;  // of the position's epoch; empty until a window is asked for
};

}  // namespace thinwire::trainer
