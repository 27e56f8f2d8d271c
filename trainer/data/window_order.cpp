#include "trainer/data/window_order.h"

#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "trainer/random.h"

namespace thinwire::trainer {

WindowOrder::WindowOrder(std::uint64_t seed, int worker, std::int64_t windows)
    : seed_(seed), worker_(worker), windows_(windows) {
  if (windows > std::numeric_limits<std::uint32_t>::max()) {
    throw std::runtime_error("[data] a worker has " + std::to_string(windows) +
                             " training sequences, expected fewer than 2^32; raise data.sequence");
  }
}

std::int64_t WindowOrder::next() {
  if (position_.index == windows_) seek({position_.epoch + 1, 0});
  if (order_.empty()) permute();
  return order_[static_cast<std::size_t>(position_.index++)];
}

void WindowOrder::seek(Position position) {
  position_ = position;
  order_.clear();
}

// Fisher-Yates on our own stream: std::shuffle may differ between standard libraries.
void WindowOrder::permute() {
  RandomStream stream = random_stream(
      seed_, "windows", {static_cast<std::uint64_t>(worker_), static_cast<std::uint64_t>(position_.epoch)});
  order_.resize(static_cast<std::size_t>(windows_));
  std::iota(order_.begin(), order_.end(), 0);
  for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[uniform_below(stream, i)]);
}

}  // namespace thinwire::trainer
